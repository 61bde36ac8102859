-- Takes a partition for a persister, or keeps it.
--
-- KEYS  1 owner: "<token> <persister>", with an expiry · 2 the last token
-- ARGV  1 persister · 2 for how long, ms
-- Gives the token, or nothing when another one has it.
-- Atomic because two that ask at once must not both get it.
local owner = call('GET', KEYS[1])
if owner then
  local token, persister = string.match(owner, '^(%d+) (.*)$')
  if persister ~= ARGV[1] then return false end
  call('PEXPIRE', KEYS[1], ARGV[2])
  return token
end
local token = whole(call('INCR', KEYS[2]))
call('SET', KEYS[1], token .. ' ' .. ARGV[1], 'PX', ARGV[2])
return token
