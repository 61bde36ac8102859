-- First step of opening a partition's epoch: claims it.
--
-- KEYS  1 epoch · 2 claim
-- ARGV  1 run · 2 nonce
-- Gives "O<epoch>": it is open for this run · "W": another one has the claim, look again · "C<epoch>"
--       claimed, with the epoch of the run before ("C" alone when there is none).
-- Atomic because a claim on an epoch that is open already would close it for nothing.
local e = call('GET', KEYS[1])
if e and string.sub(e, 1, 16) == ARGV[1] then return 'O' .. string.sub(e, 32) end
if not call('SET', KEYS[2], ARGV[2], 'NX', 'PX', 5000) then return 'W' end
if e then return 'C' .. string.sub(e, 32) end
return 'C'
