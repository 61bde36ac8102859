-- Appends events of several conversations, each in order.
--
-- KEYS  per conversation: epoch · meta · log · ingest (with "s" only) · then per event: the dedupe hash
--       of its sender in this conversation (of an event without a name: meta, which is not used as one).
--       Two more are made of these, and looked at before the first write, because a slot that moves
--       may not have them: the changes (meta's name with "x" for "m") for an edit or delete, and a
--       sender's older generation ("D" for "d") when generations turn.
-- ARGV  1 run, then "s" with a store or "l" without, then "p" to PUBLISH, "s" to SPUBLISH or "w" to do
--       neither · then per conversation: how many events · channel · with a store the conversation,
--       without "<entries kept> <ms kept>" · breaks known to the store, if anything was looked up (epoch
--       u32, id u56, k u24 each) · when the look-ups were found to be needed, ms: what they gave is
--       believed for ten seconds · then per event: name and content digest (12 and 4 bytes, or empty) ·
--       what it is and its time at receipt in µs: "m<t>", "e<id> <t>", "d<id> <t>" · look-up: "" not
--       asked, "?" to be asked for in any case, "-" asked, else hits of id u56, k u24, digest c4 · body
-- Gives per conversation: "E": open the epoch first · "B<epoch> <now, ms>": set the mark first ·
--       "L<now, ms> <i>,<j>…": look these up first; in each of these cases nothing was written. Else
--       one text per event: "N<position> <prev> <t> <ordinal> <count>", "D<position> <epoch>" as before,
--       in the epoch of now, "C" another content than before, "T" too many names, "U" the message that
--       it changes was lost since it was found. Or an error, of this conversation alone.
-- Atomic because a position, its name, its entry and the news of it must exist together or not at
-- all: everything is checked before the first write, and the news goes out last. Several in one call
-- because a call costs as much as what it does for a conversation.
local KEYS, ARGV, sub, byte, floor = KEYS, ARGV, string.sub, string.byte, math.floor
local PER_CONVERSATION, PER_EVENT = 5, 4
local run = sub(ARGV[1], 1, 16)
local has_store, publishing = byte(ARGV[1], 17) == 115, byte(ARGV[1], 18)
local is_later = publishing == 119
local FIXED_KEYS = has_store and 4 or 3
local is_message_byte, is_delete_byte = 109, 100

local function time_of(what)
  if byte(what) == is_message_byte then return sub(what, 2) end
  return string.match(what, '%d+$')
end

local function verdict(value, digest, epoch)
  local id, k, old = struct.unpack('>I7I3c4', value)
  if old ~= digest then return 'C' end
  return 'D' .. place(id, k) .. ' ' .. epoch
end

-- Where each epoch goes on behind the one before, by meta and what else is known.
local function breaks_of(meta, known)
  local below = {}
  for i = 1, #known, 14 do
    local of, id, k = struct.unpack('>I4I7I3', known, i)
    below[of] = {id, k}
  end
  for i = META_BYTES + 1, #meta, BREAK_BYTES do
    local of, id, k = struct.unpack(BREAK, meta, i)
    below[of] = {id, k}
  end
  return below
end

-- Whether walking down from the head, epoch by epoch through the breaks, reaches a position.
local function reaches(below, head_id, head_k, id, k)
  local limit_id, limit_k = head_id, head_k
  while not is_above(id, k, limit_id, limit_k) do
    local of = floor(limit_id / PER_EPOCH)
    if floor(id / PER_EPOCH) == of or not below[of] then return true end
    limit_id, limit_k = below[of][1], below[of][2]
  end
  return false
end

-- The names of one sender that are added: how many there are, and whether a generation begins.
local function owner_of(key, state, at, meta, count, events)
  local began, upper_id, upper_k = 0, 0, 0
  if state then began, upper_id, upper_k = struct.unpack(NAMES, state) end
  local turns = false
  if state and at - began > DAY_US then
    local stored_id, stored_k = struct.unpack(META_STORED, meta, META_END_BYTES + 1)
    turns = upper_id == 0 or not has_store or not is_above(upper_id, upper_k, stored_id, stored_k)
    if turns then call('HLEN', older(key)) end
  end
  -- There are never more names than events.
  local may_be_full = count + events > NAMES_MAX and state and not turns
  return {size = may_be_full and call('HLEN', key) - 1 or 0, turns = turns, is_new = not state or turns}
end

-- Appends to the conversation whose keys follow the one numbered `keys_at`, and whose arguments follow
-- `args_at`.
local function append(keys_at, args_at, events)
  local epoch_key, meta_key, log_key = KEYS[keys_at + 1], KEYS[keys_at + 2], KEYS[keys_at + 3]
  local names_at, events_at = keys_at + FIXED_KEYS, args_at + PER_CONVERSATION
  local e = call('GET', epoch_key)
  if not e or sub(e, 1, 16) ~= run then return 'E' end
  local epoch = tonumber(sub(e, 32))
  local meta = call('GET', meta_key)
  if not meta then return needs_mark(epoch) end
  local _, at_epoch, n, k, t, ordinal, count = struct.unpack(META_END, meta)
  if at_epoch ~= epoch then return needs_mark(epoch) end
  local head_id = epoch * PER_EPOCH + n
  -- Once an hour what lasts is told to last on: the changes as long as the log.
  local last_at = tonumber(time_of(ARGV[events_at + (events - 1) * PER_EVENT + 2]))
  local lasts = not has_store and (count == 0
    or (last_at > t and floor(last_at / HOUR_US) ~= floor(t / HOUR_US)))
  local changes
  local function touch_changes()
    changes = string.gsub(meta_key, ':m:', ':x:', 1)
    call('HLEN', changes)
  end
  if lasts then touch_changes() end

  -- What the store's hits say, of those that are reached.
  local function judge(hits, digest)
    local below = breaks_of(meta, ARGV[args_at + 4])
    local answer
    for h = 1, #hits, 14 do
      local id, k_ = struct.unpack('>I7I3', hits, h)
      if reaches(below, head_id, k, id, k_) then answer = verdict(sub(hits, h, h + 13), digest, epoch) end
    end
    return answer
  end

  -- Whether an edit or delete is of a message that was lost on its way here: it was found under another
  -- epoch. A break that meta does not have was known to whoever found it.
  local function is_orphan(what)
    if byte(what) == is_message_byte or epoch == 0 then return false end
    return not reaches(breaks_of(meta, ''), head_id, k, tonumber(string.match(what, '^.(%d+)')), 0)
  end

  -- Checks. Of an event that is new and has a name, `owner` is its sender's part: what there is to be
  -- remembered, and how. `twin` is the event of this conversation here that has the same name.
  local answers, ask, owner, owners = {}, '', {}, {}
  local twin, same, values
  if events > 1 then twin, same, values = {}, {}, {} end
  for i = 1, events do
    local a = events_at + (i - 1) * PER_EVENT
    local named, what = ARGV[a + 1], ARGV[a + 2]
    if byte(what) ~= is_message_byte and not changes then touch_changes() end
    if named ~= '' then
      local key, name, looked = KEYS[names_at + i], sub(named, 1, 12), ARGV[a + 3]
      local found = call('HMGET', key, name, 's')
      local value, state = found[1], found[2]
      if not value and state and struct.unpack('>I7', state, 8) > 0 then
        value = call('HGET', older(key), name)
      end
      local whose = same and key .. name
      if value then answers[i] = verdict(value, sub(named, 13), epoch)
      elseif whose and same[whose] then twin[i] = same[whose]
      else
        if has_store then
          if looked == '' then
            -- In the first of all epochs nothing was lost yet.
            local is_young = epoch > 0 and tonumber(time_of(what)) / 1000 - tonumber(sub(e, 18, 30)) < OLD_ENOUGH_MS
            if is_young or (not state and count > 0) then looked = '?' end
          elseif looked ~= '?' and now_ms() - tonumber(ARGV[args_at + 5]) > BELIEVED_MS then
            looked = '?'
          end
          if looked == '?' then ask = ask .. ',' .. i
          elseif looked ~= '-' and looked ~= '' then answers[i] = judge(looked, sub(named, 13)) end
        end
        if not answers[i] and is_orphan(what) then answers[i] = 'U' end
        if not answers[i] then
          local u = owners[key]
          if not u then
            u = owner_of(key, state, tonumber(time_of(what)), meta, count, events)
            owners[key] = u
          end
          if u.size >= NAMES_MAX then answers[i] = 'T'
          else
            u.size = u.size + 1
            owner[i] = u
            if whose then same[whose] = i end
          end
        end
      end
    elseif is_orphan(what) then answers[i] = 'U'
    end
  end
  if ask ~= '' then return 'L' .. whole(now_ms()) .. ' ' .. sub(ask, 2) end

  -- Writes. Long texts are made once each: Lua hashes every byte of every text it makes.
  local prev = place(head_id, k)
  local before_k, count_before = k, count
  local told, more
  for i = 1, events do
    local a = events_at + (i - 1) * PER_EVENT
    local named = ARGV[a + 1]
    if twin and twin[i] then answers[i] = verdict(values[twin[i]], sub(named, 13), epoch) end
    if not answers[i] then
      local what = ARGV[a + 2]
      local is_message, time = byte(what) == is_message_byte, time_of(what)
      local at = tonumber(time)
      if at > t then t = at else t = t + 1; time = whole(t) end
      if is_message then n, k, ordinal = n + 1, 0, ordinal + 1 else k = k + 1 end
      count = count + 1
      local id = epoch * PER_EPOCH + n
      local position = place(id, k)
      local facts = prev .. ' ' .. time .. ' ' .. whole(ordinal) .. ' ' .. whole(count)
      local text = facts .. ' ' .. ARGV[a + 4]
      call('XADD', log_key, position, 'm', text)
      if not is_message then
        local target, is_delete = string.match(what, '^.(%d+)'), byte(what) == is_delete_byte
        local known = call('HGET', changes, target) or ' '
        local edit, delete = string.match(known, '^(%S*) (%S*)$')
        if is_delete then delete = position elseif delete == '' then edit = position end
        call('HSET', changes, target, edit .. ' ' .. delete)
      end
      local u = owner[i]
      if u then
        local value = struct.pack('>I7I3c4', id, k, sub(named, 13))
        if values then values[i] = value end
        u[#u + 1] = sub(named, 1, 12)
        u[#u + 1] = value
      end
      if not told then told = text
      else
        if not more then more = {told} end
        more[#more + 1] = text
      end
      answers[i] = 'N' .. position .. ' ' .. facts
      prev = position
    elseif is_later then
      -- A repeat is acknowledged only once the replicas have everything before it, and WAIT waits for
      -- the last write of its own connection: so there is one.
      call('SET', meta_key, meta)
    end
  end
  if not told then return answers end
  if more then told = table.concat(more, '\n') end
  for key, u in pairs(owners) do
    if #u > 0 then
      if u.is_new then
        local upper_id, upper_k = 0, 0
        if u.turns then
          call('RENAME', key, older(key))
          upper_id, upper_k = head_id, before_k
        end
        u[#u + 1] = 's'
        u[#u + 1] = struct.pack(NAMES, t, upper_id, upper_k)
      end
      call('HSET', key, unpack(u))
      if u.is_new and not has_store then call('PEXPIRE', key, NAMES_KEPT_MS) end
    end
  end
  local rest = sub(meta, META_END_BYTES + 1)
  -- Writing meta clears its own expiry. The log has one only if everything was stored.
  if has_store then
    local stored_id, stored_k = struct.unpack(META_STORED, rest)
    if not is_above(head_id, before_k, stored_id, stored_k) then
      call('PERSIST', log_key)
      call('PERSIST', (string.gsub(meta_key, ':m:', ':x:', 1)))
    end
  end
  call('SET', meta_key, struct.pack(META_END, VERSION, epoch, n, k, t, ordinal, count) .. rest)
  if has_store then
    call('XADD', KEYS[keys_at + 4], '*', ARGV[args_at + 3], told)
  else
    local trims = floor(count / TRIM_EVERY) ~= floor(count_before / TRIM_EVERY)
    if trims or changes then
      local entries, kept_ms = string.match(ARGV[args_at + 3], '^(%d+) (%d+)$')
      if trims then call('XTRIM', log_key, 'MAXLEN', '~', entries) end
      if lasts then call('PEXPIRE', log_key, kept_ms) end
      if changes then call('PEXPIRE', changes, kept_ms) end
    end
  end
  if not is_later then call(publishing == 112 and 'PUBLISH' or 'SPUBLISH', ARGV[args_at + 2], told) end
  return answers
end

local all, keys_at, args_at = {}, 0, 1
while args_at < #ARGV do
  local events = tonumber(ARGV[args_at + 1])
  -- What goes wrong with one conversation must not leave the others without their answers.
  local is_done, answer = pcall(append, keys_at, args_at, events)
  if not is_done and type(answer) ~= 'table' then answer = {err = 'ERR ' .. tostring(answer)} end
  all[#all + 1] = answer
  keys_at = keys_at + FIXED_KEYS + events
  args_at = args_at + PER_CONVERSATION + events * PER_EVENT
end
return all
