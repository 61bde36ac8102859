-- Makes a conversation's presence right: `token` holds just the users given, and the tokens of dead
-- gateways hold nobody.
--
-- KEYS  1 presence hash, as in presence.lua
-- ARGV  1 publishing command · 2 channel · 3 time, µs · 4 ms kept · 5 token, or "" · 6 number of dead
--       gateways · their ids · the users of `token`
-- Gives the number of users that are present.
-- Atomic because a user that one holder lets go while another one takes it must not look gone.
local here, dead = {}, {}
local deads = tonumber(ARGV[6])
for i = 7, 6 + deads do dead[ARGV[i]] = true end
for i = 7 + deads, #ARGV do here[ARGV[i]] = true end
local all = call('HGETALL', KEYS[1])
local present, told = 0, {}
for i = 1, #all, 2 do
  local user, holders, left, was = all[i], all[i + 1], {}, false
  for token in string.gmatch(holders, '%S+') do
    if token == ARGV[5] then was = true
    elseif not dead[string.match(token, '^[^.]+')] then left[#left + 1] = token end
  end
  local is_here = here[user]
  if is_here then left[#left + 1] = ARGV[5] end
  local text = table.concat(left, ' ')
  if text == '' then
    call('HDEL', KEYS[1], user)
    told[#told + 1] = '-' .. ARGV[3] .. ' ' .. user
  else
    present = present + 1
    if text ~= holders then call('HSET', KEYS[1], user, text) end
  end
  here[user] = nil
end
for user in pairs(here) do
  call('HSET', KEYS[1], user, ARGV[5])
  present = present + 1
  told[#told + 1] = '+' .. ARGV[3] .. ' ' .. user
end
if present > 0 then call('PEXPIRE', KEYS[1], ARGV[4]) end
for i = 1, #told do call(ARGV[1], ARGV[2], told[i]) end
return present
