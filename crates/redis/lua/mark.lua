-- Brings a conversation into the present epoch: sets its mark, or puts back what Redis forgot of an
-- idle one. Does nothing else, so that a look-up that begins after it sees the break.
--
-- KEYS  1 epoch · 2 meta · 3 log · 4 ingest · and the changes (meta's name with "x" for "m")
-- ARGV  1 run · 2 epoch that was asked for · 3 "store" or "log" · 4 publishing command · 5 channel
--       6 conversation · 7 time, µs · 8 ms kept (of "log") · the store's head: 9 id · 10 k · 11 t
--       12 ordinal · 13 count · 14 when the need was answered, ms: what was read for it is believed
--       for ten seconds
-- Gives "E": open the epoch first · "B<epoch> <now, ms>": that was another epoch · "O": it is done.
-- Atomic because the break has to be the last position there is, and nothing may come behind it.
local epoch = epoch_of(KEYS[1], ARGV[1])
if not epoch then return 'E' end
if epoch ~= tonumber(ARGV[2]) then return needs_mark(epoch) end
if now_ms() - tonumber(ARGV[14]) > 10000 then return needs_mark(epoch) end
set_mark({
  meta = call('GET', KEYS[2]) or nil, epoch = epoch, meta_key = KEYS[2], log_key = KEYS[3],
  ingest_key = KEYS[4], has_store = ARGV[3] == 'store',
  publish = ARGV[4], channel = ARGV[5], conversation = ARGV[6], time = tonumber(ARGV[7]), kept_ms = ARGV[8],
  id = tonumber(ARGV[9]), k = tonumber(ARGV[10]), t = tonumber(ARGV[11]),
  ordinal = tonumber(ARGV[12]), count = tonumber(ARGV[13]),
})
return 'O'
