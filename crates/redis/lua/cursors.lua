-- The highest cursors of a conversation.
--
-- KEYS  1 read cursors · 2 delivered cursors, as in advance.lua
-- ARGV  1 how many of each kind · 2 users to be named in any case…
-- Gives whether recall.lua has merged what the store has ("1" or "0"), then user, delivered, read in
-- turns, for every user among the highest of either kind.
-- Atomic because both cursors of a user have to be of one moment. Writes nothing.
local seen, answer = {['']=true}, {call('ZSCORE', KEYS[1], '') and '1' or '0'}
local function add(user)
  if seen[user] then return end
  seen[user] = true
  answer[#answer + 1] = user
  answer[#answer + 1] = whole(tonumber(call('ZSCORE', KEYS[2], user) or '0'))
  answer[#answer + 1] = whole(tonumber(call('ZSCORE', KEYS[1], user) or '0'))
end
local last = tonumber(ARGV[1]) - 1
if last >= 0 then
  for _, user in ipairs(call('ZREVRANGE', KEYS[1], 0, last)) do add(user) end
  for _, user in ipairs(call('ZREVRANGE', KEYS[2], 0, last)) do add(user) end
end
for i = 2, #ARGV do add(ARGV[i]) end
return answer
