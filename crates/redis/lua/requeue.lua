-- Gives a dead letter to the persister again.
--
-- KEYS  1 ingest · 2 dead letters
-- ARGV  1 id of the dead letter
-- Gives 1, or 0 when there is none of this id.
-- Atomic because it must stand in one of both.
local entry = call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if not entry then return 0 end
local fields = {}
for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
call('XADD', KEYS[1], '*', fields.conversation, fields.text)
call('XDEL', KEYS[2], ARGV[1])
return 1
