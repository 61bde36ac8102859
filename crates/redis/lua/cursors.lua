-- The highest cursors of a conversation.
--
-- KEYS  1 read cursors · 2 delivered cursors, as in advance.lua
-- ARGV  1 how many of each kind · 2 users to be named in any case…
-- Gives what `highest` gives, and those users.
-- Atomic because both cursors of a user have to be of one moment. Writes nothing.
local answer, add = highest(KEYS[1], KEYS[2], tonumber(ARGV[1]))
for i = 2, #ARGV do add(ARGV[i]) end
return answer
