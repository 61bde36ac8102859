-- Moves users' cursors up.
--
-- KEYS  per move: read cursors · delivered cursors, sorted sets of user by message id · with a store
--       moved cursors, as in settle.lua
-- ARGV  1 publishing command · 2 ms kept · 3 "s" with a store or "l" without · then per move: user ·
--       delivered · read · channel · time, µs · ids that a read listed, with commas between ·
--       conversation
-- Gives per move 1 if anything moved, else 0, or an error, of this move alone.
-- Atomic because what is told has to be what stands: both cursors after the merge. Several in one call
-- because each for itself costs more for the call than for the move.
local KEYS, ARGV = KEYS, ARGV
local has_store = ARGV[3] == 's'
local PER_MOVE, KEYS_PER_MOVE = 7, has_store and 3 or 2

local function advance(keys_at, args_at)
  local read_key, delivered_key, user = KEYS[keys_at + 1], KEYS[keys_at + 2], ARGV[args_at + 1]
  local read = tonumber(call('ZSCORE', read_key, user) or '0')
  local delivered = tonumber(call('ZSCORE', delivered_key, user) or '0')
  local new_read = math.max(read, tonumber(ARGV[args_at + 3]))
  local new_delivered = math.max(delivered, tonumber(ARGV[args_at + 2]), new_read)
  if new_read == read and new_delivered == delivered then return 0 end
  local read_text, delivered_text = whole(new_read), whole(new_delivered)
  if new_read > read then call('ZADD', read_key, read_text, user) end
  if new_delivered > delivered then call('ZADD', delivered_key, delivered_text, user) end
  call('PEXPIRE', read_key, ARGV[2])
  call('PEXPIRE', delivered_key, ARGV[2])
  if has_store then
    call('HSET', KEYS[keys_at + 3], ARGV[args_at + 7] .. ' ' .. user, delivered_text .. ' ' .. read_text)
  end
  local told = 'C' .. ARGV[args_at + 5] .. ' ' .. delivered_text .. ' ' .. read_text
  call(ARGV[1], ARGV[args_at + 4], told .. ' ' .. ARGV[args_at + 6] .. ' ' .. user)
  return 1
end

local all = {}
for i = 1, #KEYS / KEYS_PER_MOVE do
  all[i] = apart(advance, (i - 1) * KEYS_PER_MOVE, 3 + (i - 1) * PER_MOVE)
end
return all
