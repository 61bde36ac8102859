-- Merges what the store has of a conversation's cursors into those here, once.
--
-- KEYS  1 read cursors · 2 delivered cursors, as in advance.lua
-- ARGV  1 "1" with the last part, else "0" · 2 ms kept · then user, delivered and read of each
-- Gives nothing.
-- Atomic because cursors only move up.
for i = 3, #ARGV, 3 do
  local user, delivered, read = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  if read > tonumber(call('ZSCORE', KEYS[1], user) or '0') then call('ZADD', KEYS[1], whole(read), user) end
  if delivered > tonumber(call('ZSCORE', KEYS[2], user) or '0') then call('ZADD', KEYS[2], whole(delivered), user) end
end
-- Nobody has the empty name; its score is nothing, so that it is the last.
if ARGV[1] == '1' then call('ZADD', KEYS[1], 0, '') end
call('PEXPIRE', KEYS[1], ARGV[2])
call('PEXPIRE', KEYS[2], ARGV[2])
return false
