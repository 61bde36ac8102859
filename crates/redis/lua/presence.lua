-- A user came to a holder (a gateway's shard), or went.
--
-- KEYS  1 presence hash: user -> the holders' tokens, with blanks between
-- ARGV  1 user · 2 token · 3 "+" or "-" · 4 publishing command · 5 channel · 6 time, µs · 7 ms kept
-- Gives how many holders the user has.
-- Atomic because only the first arrival and the last departure are told.
local holders = call('HGET', KEYS[1], ARGV[1]) or ''
local others, count, was = {}, 0, false
for token in string.gmatch(holders, '%S+') do
  count = count + 1
  if token == ARGV[2] then was = true else others[#others + 1] = token end
end
if ARGV[3] == '+' then
  if was then return count end
  others[#others + 1] = ARGV[2]
  call('HSET', KEYS[1], ARGV[1], table.concat(others, ' '))
  call('PEXPIRE', KEYS[1], ARGV[7])
  if count == 0 then call(ARGV[4], ARGV[5], '+' .. ARGV[6] .. ' ' .. ARGV[1]) end
  return count + 1
end
if not was then return count end
if #others > 0 then
  call('HSET', KEYS[1], ARGV[1], table.concat(others, ' '))
else
  call('HDEL', KEYS[1], ARGV[1])
  call(ARGV[4], ARGV[5], '-' .. ARGV[6] .. ' ' .. ARGV[1])
end
return #others
