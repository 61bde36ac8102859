-- Last step of opening a partition's epoch: sets it, if the claim still is ours.
--
-- KEYS  1 epoch · 2 claim
-- ARGV  1 nonce · 2 run · 3 time, ms · 4 epoch · 5 channel · 6 what is told there
-- Gives "O" or "R": refused, look again.
-- Atomic because an opener that was overtaken must not set an older epoch.
if call('GET', KEYS[2]) ~= ARGV[1] then return 'R' end
call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
call('DEL', KEYS[2])
call('PUBLISH', ARGV[5], ARGV[6])
return 'O'
