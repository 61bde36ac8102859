-- Lets a partition go.
--
-- KEYS  1 owner, as in hold.lua
-- ARGV  1 token
-- Gives 1, or 0 when another one has it.
-- Atomic because only the own lease may be ended.
local owner = call('GET', KEYS[1])
if not owner or string.match(owner, '^%d+') ~= ARGV[1] then return 0 end
return call('DEL', KEYS[1])
