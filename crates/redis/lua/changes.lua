-- What became of messages that the log does not have, as far as the log knows it.
--
-- KEYS  1 log · 2 changes
-- ARGV  ids of messages
-- Gives position and text of each edit in force and each delete that the log still has.
-- Atomic because a change may be trimmed meanwhile. Writes nothing.
local answer = {}
for i = 1, #ARGV, 100 do
  local known = call('HMGET', KEYS[2], unpack(ARGV, i, math.min(i + 99, #ARGV)))
  for j = 1, #known do
    for position in string.gmatch(known[j] or '', '%S+') do
      local entry = call('XRANGE', KEYS[1], position, position)[1]
      if entry then
        answer[#answer + 1] = position
        answer[#answer + 1] = entry[2][2]
      end
    end
  end
end
return answer
