-- What rooms begin with: the end of each conversation, who is present, and the highest cursors.
--
-- KEYS  per conversation: epoch · meta · log · presence hash · read cursors · delivered cursors
-- ARGV  1 run, then "s" with a store or "l" without, then "p" to PUBLISH or "s" to SPUBLISH; behind
--       a blank each: how many cursors of each kind · time, µs · ms kept (of "l")
--       then per conversation: channel
-- Gives per conversation: "E": open the epoch first · "B<epoch> <now, ms>": set the mark first · else a
--       list of "M" and the packed meta, the presence hash, and what `highest` gives. Or an error, of
--       this conversation alone.
-- Atomic because epoch, head, breaks and stored have to belong together. Without a store nobody has to
-- be asked before a mark is set, so that is done here. Several in one call because a call costs as much
-- as what it does for a conversation.
local KEYS_EACH = 6
local run, has_store = string.sub(ARGV[1], 1, 16), string.byte(ARGV[1], 17) == 115
local publish = string.byte(ARGV[1], 18) == 112 and 'PUBLISH' or 'SPUBLISH'
local limit, time, kept_ms = string.match(ARGV[1], ' (%d+) (%d+) (%d+)$')
limit, time = tonumber(limit), tonumber(time)

local function open(at, channel)
  local epoch, meta = epoch_of(KEYS[at + 1], run), call('GET', KEYS[at + 2])
  if not epoch then return 'E' end
  local is_entered = meta and select(2, struct.unpack('>BI4', meta)) == epoch
  if not is_entered then
    if has_store then return needs_mark(epoch) end
    meta = set_mark({
      meta = meta or nil, epoch = epoch, meta_key = KEYS[at + 2], log_key = KEYS[at + 3],
      has_store = false, publish = publish, channel = channel, time = time, kept_ms = kept_ms, id = 0, k = 0, t = 0, ordinal = 0, count = 0,
    })
  end
  return {'M' .. meta, call('HGETALL', KEYS[at + 4]), (highest(KEYS[at + 5], KEYS[at + 6], limit))}
end

local all = {}
for i = 2, #ARGV do
  all[i - 1] = apart(open, (i - 2) * KEYS_EACH, ARGV[i])
end
return all
