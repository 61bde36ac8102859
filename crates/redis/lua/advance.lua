-- Moves a user's cursors up.
--
-- KEYS  1 read cursors · 2 delivered cursors: sorted sets of user by message id · with a store 3 moved
--       cursors, as in settle.lua
-- ARGV  1 user · 2 delivered · 3 read · 4 publishing command · 5 channel · 6 time, µs · 7 ids that a
--       read listed, with commas between · 8 ms kept · 9 with a store the conversation
-- Gives 1 if anything moved, else 0.
-- Atomic because what is told has to be what stands: both cursors after the merge.
local read = tonumber(call('ZSCORE', KEYS[1], ARGV[1]) or '0')
local delivered = tonumber(call('ZSCORE', KEYS[2], ARGV[1]) or '0')
local new_read = math.max(read, tonumber(ARGV[3]))
local new_delivered = math.max(delivered, tonumber(ARGV[2]), new_read)
if new_read == read and new_delivered == delivered then return 0 end
if new_read > read then call('ZADD', KEYS[1], whole(new_read), ARGV[1]) end
if new_delivered > delivered then call('ZADD', KEYS[2], whole(new_delivered), ARGV[1]) end
call('PEXPIRE', KEYS[1], ARGV[8])
call('PEXPIRE', KEYS[2], ARGV[8])
if KEYS[3] then
  call('HSET', KEYS[3], ARGV[9] .. ' ' .. ARGV[1], whole(new_delivered) .. ' ' .. whole(new_read))
end
call(ARGV[4], ARGV[5], 'C' .. ARGV[6] .. ' ' .. whole(new_delivered) .. ' ' .. whole(new_read) .. ' ' .. ARGV[7] .. ' ' .. ARGV[1])
return 1
