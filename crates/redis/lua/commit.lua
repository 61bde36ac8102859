-- Commits what a persister made durable.
--
-- KEYS  1 epoch · 2 owner, as in hold.lua · 3 ingest · 4 dead letters · then per conversation: meta, log,
--       the dedupe hashes of the senders; and the changes (meta's name with "x" for "m")
-- ARGV  1 run · 2 epoch when it was read · 3 token · 4 publishing command · 5 entries of a log that are
--       kept · ms that are kept of a conversation that is stored as a whole: 6 of its log, 7 of the
--       rest · 8 the last id of the ingest that is done, or "" · 9 number of dead letters · per dead
--       letter: id, conversation, text, reason · per conversation: channel, id and k of the last
--       stored event, how many events there are up to it, number of senders
-- Gives "O" · "E": the epoch is another one · "F": another persister owns the partition; in both cases
--       nothing was written.
-- Atomic because what is let go in the log must be what is stored: both move together, and only in
-- the log that was read. Written to when memory is full, too, since that is what frees it.
local e = call('GET', KEYS[1])
if not e or string.sub(e, 1, 16) ~= ARGV[1] or string.sub(e, 32) ~= ARGV[2] then return 'E' end
local owner = call('GET', KEYS[2])
if not owner or string.match(owner, '^%d+') ~= ARGV[3] then return 'F' end
local tail, epoch = tonumber(ARGV[5]), tonumber(ARGV[2])

local a = 9
for _ = 1, tonumber(ARGV[9]) do
  call('XADD', KEYS[4], '*', 'id', ARGV[a + 1], 'conversation', ARGV[a + 2], 'text', ARGV[a + 3], 'reason', ARGV[a + 4])
  a = a + 4
end

-- Forgets the changes of messages that the log does not have any more. The store has them.
local function forget_changes(key, log, stored_id, stored_k)
  if call('HLEN', key) == 0 then return end
  local first = call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  local begins = first and tonumber(string.match(first[1], '^%d+')) or math.huge
  local all = call('HGETALL', key)
  for i = 1, #all, 2 do
    local newest_id, newest_k = 0, 0
    for id, k in string.gmatch(all[i + 1], '(%d+)-(%d+)') do
      id, k = tonumber(id), tonumber(k)
      if is_above(id, k, newest_id, newest_k) then newest_id, newest_k = id, k end
    end
    if tonumber(all[i]) < begins and not is_above(newest_id, newest_k, stored_id, stored_k) then
      call('HDEL', key, all[i])
    end
  end
end

local key = 5
while key <= #KEYS do
  local meta_key, log = KEYS[key], KEYS[key + 1]
  local channel, id, k = ARGV[a + 1], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local stored_count, senders = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
  local meta = call('GET', meta_key)
  if meta then
    local _, at_epoch, n, head_k, t, ordinal, count, stored_id, stored_k = struct.unpack(META, meta)
    local is_news = is_above(id, k, stored_id, stored_k)
    if is_news then stored_id, stored_k = id, k end
    local breaks = string.sub(meta, META_BYTES + 1)
    local is_whole = not is_above(at_epoch * PER_EPOCH + n, head_k, stored_id, stored_k)
    local changes = string.gsub(meta_key, ':m:', ':x:', 1)
    -- A mark is an entry that is not counted.
    local kept = tail
    if not is_whole then kept = tail + count - stored_count + #breaks / BREAK_BYTES end
    local length = call('XLEN', log)
    if length > kept and (is_whole or length > kept + TRIM_EVERY) then
      call('XTRIM', log, 'MAXLEN', whole(kept))
      forget_changes(changes, log, stored_id, stored_k)
    end
    if is_news then
      local packed = struct.pack(META, VERSION, at_epoch, n, head_k, t, ordinal, count, stored_id, stored_k)
      call('SET', meta_key, packed .. breaks)
    end
    if is_whole then
      call('PEXPIRE', log, ARGV[6])
      -- Later than the log, whose messages they belong to.
      call('PEXPIRE', changes, whole(tonumber(ARGV[6]) + HOUR_US / 1000))
      call('PEXPIRE', meta_key, ARGV[7])
    end
    -- What is below this epoch's mark is stored in an epoch that clients may not have heard the end of.
    -- Told also while more waits: in a busy conversation something always does.
    if is_news and at_epoch == epoch and id >= epoch * PER_EPOCH then
      call(ARGV[4], channel, 'S' .. epoch .. ' ' .. place(id, k))
    end
  end
  for i = 1, senders do call('PEXPIRE', KEYS[key + 1 + i], ARGV[7]) end
  key, a = key + 2 + senders, a + 5
end
if ARGV[8] ~= '' then
  local ms, seq = string.match(ARGV[8], '^(%d+)-(%d+)$')
  call('XTRIM', KEYS[3], 'MINID', ms .. '-' .. whole(tonumber(seq) + 1))
end
return 'O'
