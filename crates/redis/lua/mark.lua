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
local has_store = ARGV[3] == 'store'
local meta = call('GET', KEYS[2])
local id, k, t, ordinal, count = 0, 0, 0, 0, 0
local stored_id, stored_k, breaks = 0, 0, ''
if meta then
  local _, at_epoch, n
  _, at_epoch, n, k, t, ordinal, count, stored_id, stored_k = struct.unpack(META, meta)
  if at_epoch == epoch then return 'O' end
  id, breaks = at_epoch * PER_EPOCH + n, string.sub(meta, META_BYTES + 1)
end
local base_id, base_k, base_t = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
if not meta then stored_id, stored_k = base_id, base_k end
local changes = string.gsub(KEYS[2], ':m:', ':x:', 1)
if is_above(base_id, base_k, id, k) then
  id, k, ordinal, count = base_id, base_k, tonumber(ARGV[12]), tonumber(ARGV[13])
  -- What the log has is stored, or was lost; and it does not have what came then, edits among it. So
  -- the log begins here.
  call('DEL', KEYS[3], changes)
end
t = math.max(t, base_t)
local n = id % PER_EPOCH
if epoch == 0 or (not meta and math.floor(id / PER_EPOCH) == epoch) then
  call('SET', KEYS[2], struct.pack(META, VERSION, epoch, n, k, t, ordinal, count, stored_id, stored_k))
  return 'O'
end

-- A break is dropped only here, and only when the store has everything up to its mark. Without a
-- store the newest stay.
local kept = ''
for i = 1, #breaks, BREAK_BYTES do
  local of = struct.unpack('>I4', breaks, i)
  if has_store then
    if of * PER_EPOCH > stored_id then kept = kept .. string.sub(breaks, i, i + BREAK_BYTES - 1) end
  elseif #breaks - i < 31 * BREAK_BYTES then
    kept = kept .. string.sub(breaks, i, i + BREAK_BYTES - 1)
  end
end
kept = kept .. struct.pack(BREAK, epoch, id, k, ordinal, count)
t = math.max(tonumber(ARGV[7]), t + 1)
local position = place(epoch * PER_EPOCH, 0)
local text = place(id, k) .. ' ' .. whole(t) .. ' ' .. whole(ordinal) .. ' ' .. whole(count) .. ' {"mark":' .. epoch .. '}'
call('XADD', KEYS[3], position, 'm', text)
call('SET', KEYS[2], struct.pack(META, VERSION, epoch, 0, 0, t, ordinal, count, stored_id, stored_k) .. kept)
if has_store then
  call('XADD', KEYS[4], '*', ARGV[6], text)
  -- What is not stored must not expire.
  call('PERSIST', KEYS[3])
  call('PERSIST', changes)
else
  call('PEXPIRE', KEYS[3], ARGV[8])
end
call(ARGV[4], ARGV[5], text)
return 'O'
