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
--       u32, id u56, k u24 each) · what the look-ups were found to be needed by, "<ms>-<epoch>": what
--       they gave is believed in that epoch alone, and for ten seconds · then per event: name and content digest (12 and 4 bytes, or empty) ·
--       what it is and its time at receipt in µs: "m<t>", "e<id> <t>", "d<id> <t>" · look-up: "" not
--       asked, "?" to be asked for in any case, "-" asked, else hits of id u56, k u24, digest c4 · body
-- Gives per conversation: "E": open the epoch first · "B<epoch> <now, ms>": set the mark first ·
--       "L<now, ms>-<epoch> <i>,<j>…": look these up first; in each of these cases nothing was written. Else
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
local publish = publishing == 112 and 'PUBLISH' or 'SPUBLISH'
local is_message_byte, is_delete_byte = 109, 100

local function time_of(what)
  if byte(what) == is_message_byte then return sub(what, 2) end
  return string.match(what, '%d+$')
end

-- What a usual message does not need. A script's functions are made anew at each of its calls, which
-- costs a call with one message more than running them would, so these are made when asked for.
local made
local function unusual()
  if made then return made end

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

  -- What the store's hits say, of those that are reached by the breaks of meta and those it knows.
  local function judge(hits, digest, meta, known, epoch, head_id, head_k)
    local below = breaks_of(meta, known)
    local answer
    for h = 1, #hits, 14 do
      local id, k = struct.unpack('>I7I3', hits, h)
      if reaches(below, head_id, head_k, id, k) then answer = verdict(sub(hits, h, h + 13), digest, epoch) end
    end
    return answer
  end

  -- Whether an edit or delete is of a message that was lost on its way here: it was found under another
  -- epoch. A break that meta does not have was known to whoever found it.
  local function is_orphan(what, meta, head_id, head_k)
    return not reaches(breaks_of(meta, ''), head_id, head_k, tonumber(string.match(what, '^.(%d+)')), 0)
  end

  -- Whether a sender's names of a day ago, which have others before them up to a position, may become
  -- the older generation. The store has to have what is forgotten then.
  local function may_turn(key, upper_id, upper_k, meta)
    local stored_id, stored_k = struct.unpack(META_STORED, meta, META_END_BYTES + 1)
    if upper_id > 0 and has_store and is_above(upper_id, upper_k, stored_id, stored_k) then return false end
    call('HLEN', older(key))
    return true
  end

  -- Begins a generation of a sender's names: its first, or the next, before which there are names up
  -- to the head.
  local function begin(key, generation, t, head_id, head_k)
    local upper_id, upper_k = 0, 0
    if generation == 'next' then
      call('RENAME', key, older(key))
      upper_id, upper_k = head_id, head_k
    end
    call('HSET', key, 's', struct.pack(NAMES, t, upper_id, upper_k))
    if not has_store then call('PEXPIRE', key, NAMES_KEPT_MS) end
  end

  made = {verdict = verdict, judge = judge, is_orphan = is_orphan, may_turn = may_turn, begin = begin}
  return made
end

-- Appends to the conversation whose keys follow the one numbered `keys_at`, and whose arguments follow
-- `args_at`.
local function append(keys_at, args_at, events)
  local meta_key, log_key = KEYS[keys_at + 2], KEYS[keys_at + 3]
  local names_at, events_at = keys_at + FIXED_KEYS, args_at + PER_CONVERSATION
  local e = call('GET', KEYS[keys_at + 1])
  if not e or sub(e, 1, 16) ~= run then return 'E' end
  local epoch = tonumber(sub(e, 32))
  local meta = call('GET', meta_key)
  if not meta then return needs_mark(epoch) end
  local _, at_epoch, n, k, t, ordinal, count = struct.unpack(META_END, meta)
  if at_epoch ~= epoch then return needs_mark(epoch) end
  local head_id = epoch * PER_EPOCH + n

  -- Checks. `begins` has the senders whose names begin a generation here, by key. `twin` is the event of
  -- this conversation here that has the same name and is new.
  local answers, ask = {}, ''
  local changes, lasts, begins
  local twin, same, values
  if events > 1 then twin, same, values = {}, {}, {} end
  for i = 1, events do
    local a = events_at + (i - 1) * PER_EVENT
    local named, what = ARGV[a + 1], ARGV[a + 2]
    local at, is_message = tonumber(time_of(what)), byte(what) == is_message_byte
    -- Once an hour what lasts is told to last on: the changes as long as the log.
    if i == events and not has_store then
      lasts = count == 0 or (at > t and floor(at / HOUR_US) ~= floor(t / HOUR_US))
    end
    if (lasts or not is_message) and not changes then
      changes = string.gsub(meta_key, ':m:', ':x:', 1)
      call('HLEN', changes)
    end
    if named ~= '' then
      local key, name = KEYS[names_at + i], sub(named, 1, 12)
      local found = call('HMGET', key, name, 's')
      local value, state = found[1], found[2]
      local began, upper_id, upper_k
      if state then
        began, upper_id, upper_k = struct.unpack(NAMES, state)
        if not value and upper_id > 0 then value = call('HGET', older(key), name) end
      end
      local whose = same and key .. name
      if value then answers[i] = unusual().verdict(value, sub(named, 13), epoch)
      elseif whose and same[whose] then twin[i] = same[whose]
      else
        if has_store then
          local looked = ARGV[a + 3]
          if looked == '' then
            -- In the first of all epochs nothing was lost yet.
            local is_young = epoch > 0 and at / 1000 - tonumber(sub(e, 18, 30)) < OLD_ENOUGH_MS
            if is_young or (not state and count > 0) then looked = '?' end
          elseif looked ~= '?' then
            local found_ms, found_in = string.match(ARGV[args_at + 5], '^(%d+)-(%d+)$')
            -- What was not there before this epoch's mark may have been stored late, below its break.
            local is_old = now_ms() - tonumber(found_ms) > BELIEVED_MS
            if is_old or tonumber(found_in) ~= epoch then looked = '?' end
          end
          if looked == '?' then ask = ask .. ',' .. i
          elseif looked ~= '-' and looked ~= '' then
            answers[i] = unusual().judge(looked, sub(named, 13), meta, ARGV[args_at + 4], epoch, head_id, k)
          end
        end
        if not answers[i] and not is_message and epoch > 0 and unusual().is_orphan(what, meta, head_id, k) then
          answers[i] = 'U'
        end
        if not answers[i] then
          if whose then same[whose] = i end
          if not state or (at - began > DAY_US and unusual().may_turn(key, upper_id, upper_k, meta)) then
            if not begins then begins = {} end
            begins[key] = state and 'next' or 'first'
          end
        end
      end
    elseif not is_message and epoch > 0 and unusual().is_orphan(what, meta, head_id, k) then answers[i] = 'U'
    end
  end
  if ask ~= '' then return 'L' .. whole(now_ms()) .. '-' .. epoch .. ' ' .. sub(ask, 2) end

  -- Writes. Long texts are made once each: Lua hashes every byte of every text it makes.
  local prev = place(head_id, k)
  local before_k, count_before = k, count
  -- There are never more names than events.
  local may_be_full = count + events > NAMES_MAX
  local told, more
  for i = 1, events do
    local a = events_at + (i - 1) * PER_EVENT
    local named, key = ARGV[a + 1], KEYS[names_at + i]
    local generation = begins and begins[key]
    if twin and values[twin[i]] then answers[i] = unusual().verdict(values[twin[i]], sub(named, 13), epoch)
    elseif may_be_full and not answers[i] and named ~= '' and not generation then
      -- One field is not a name. What this call added counts, so it is only known here.
      if call('HLEN', key) - 1 >= NAMES_MAX then answers[i] = 'T' end
    end
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
      if named ~= '' then
        if generation then
          unusual().begin(key, generation, t, head_id, before_k)
          begins[key] = nil
        end
        local value = struct.pack('>I7I3c4', id, k, sub(named, 13))
        call('HSET', key, sub(named, 1, 12), value)
        if values then values[i] = value end
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
  -- Writing meta clears its own expiry. The log has one only if everything was stored.
  if has_store then
    local stored_id, stored_k = struct.unpack(META_STORED, meta, META_END_BYTES + 1)
    if not is_above(head_id, before_k, stored_id, stored_k) then
      call('PERSIST', log_key)
      call('PERSIST', (string.gsub(meta_key, ':m:', ':x:', 1)))
    end
  end
  local rest = sub(meta, META_END_BYTES + 1)
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
  if not is_later then call(publish, ARGV[args_at + 2], told) end
  return answers
end

local all, keys_at, args_at = {}, 0, 1
while args_at < #ARGV do
  local events = tonumber(ARGV[args_at + 1])
  all[#all + 1] = apart(append, keys_at, args_at, events)
  keys_at = keys_at + FIXED_KEYS + events
  args_at = args_at + PER_CONVERSATION + events * PER_EVENT
end
return all
