-- Users came to a holder (a gateway's shard), or went.
--
-- KEYS  per coming or going: presence hash: user -> the holders' tokens, with blanks between
-- ARGV  1 run, which does not matter here, then "p" to PUBLISH or "s" to SPUBLISH, a blank, ms kept
--       then per coming or going: user · token · "+" or "-" · channel · time, µs
-- Gives each time how many holders the user has. Or an error, of this one alone.
-- Atomic because only the first arrival and the last departure are told. Several in one call because a
-- call costs more than what it does for one.
local ARGUMENTS_EACH = 5
local publish = string.byte(ARGV[1], 17) == 112 and 'PUBLISH' or 'SPUBLISH'
local kept_ms = string.match(ARGV[1], '%d+$')

local function walk(key, user, token, way, channel, time)
  local holders = call('HGET', key, user) or ''
  local others, count, was = {}, 0, false
  for one in string.gmatch(holders, '%S+') do
    count = count + 1
    if one == token then was = true else others[#others + 1] = one end
  end
  if way == '+' then
    if was then return count end
    others[#others + 1] = token
    call('HSET', key, user, table.concat(others, ' '))
    call('PEXPIRE', key, kept_ms)
    if count == 0 then call(publish, channel, '+' .. time .. ' ' .. user) end
    return count + 1
  end
  if not was then return count end
  if #others > 0 then
    call('HSET', key, user, table.concat(others, ' '))
  else
    call('HDEL', key, user)
    call(publish, channel, '-' .. time .. ' ' .. user)
  end
  return #others
end

local all = {}
for i = 1, #KEYS do
  local at = 1 + (i - 1) * ARGUMENTS_EACH
  all[i] = apart(walk, KEYS[i], unpack(ARGV, at + 1, at + ARGUMENTS_EACH))
end
return all
