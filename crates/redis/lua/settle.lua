-- Takes note of cursors that are stored.
--
-- KEYS  1 moved cursors: hash of "<conversation> <user>" -> "<delivered> <read>"
-- ARGV  per cursor: field and value as they were read
-- Gives nothing.
-- Atomic because a cursor that moved on meanwhile is not stored.
for i = 1, #ARGV, 2 do
  if call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then call('HDEL', KEYS[1], ARGV[i]) end
end
return false
