-- Appends events of one conversation, in order.
--
-- KEYS  1 epoch · 2 meta · 3 log · 4 changes · 5 ingest · then per event: the dedupe hash of its
--       sender in this conversation (of an event without a name: meta, which is not used as one).
--       The sender's older generation has the same key with "D" for "d".
-- ARGV  1 run · 2 "store" or "log" · 3 publishing command, or "later" · 4 channel · 5 conversation
--       6 entries kept and 7 ms kept (of "log") · 8 breaks known to the store: per break epoch u32,
--       id u56, k u24 · 9 when the look-ups were found to be needed, ms, or "": what they gave is
--       believed for ten seconds · then per event: name (12 bytes or empty) · content digest (4 bytes) ·
--       time at receipt, µs · what it is: "m", "e<id>", "d<id>" · look-up: "" not asked,
--       "?" to be asked for in any case, "-" asked, else hits of id u56, k u24, digest c4 · body
-- Gives "E": open the epoch first · "B<epoch> <now, ms>": set the mark first · "L<now, ms> <i>,<j>…":
--       look these up first; in each of these cases nothing was written. Else one text per event:
--       "N<position> <prev> <t> <ordinal> <count>", "D<position> <epoch>" as before, in the epoch
--       of now, "C" another content than before, "T" too many names.
-- Atomic because a position, its name, its entry and the news of it must exist together or not at
-- all: everything is checked before the first write, and the news goes out last.
local KEYS, ARGV = KEYS, ARGV
local FIXED, PER_EVENT, DAY_US, CAP = 9, 6, 86400000000, 20000
local OLD_ENOUGH_MS, BELIEVED_MS = 600000, 10000
local KEEP_NAMES_MS, HOUR_US, TRIM_EVERY = 172800000, 3600000000, 64
local NAMES = '>I7I7I3'

local epoch = epoch_of(KEYS[1], ARGV[1])
if not epoch then return 'E' end
local meta = call('GET', KEYS[2])
if not meta then return needs_mark(epoch) end
local _, at_epoch, n, k, t, ordinal, count = struct.unpack(META_END, meta)
if at_epoch ~= epoch then return needs_mark(epoch) end
local has_store = ARGV[2] == 'store'
local head_id = epoch * PER_EPOCH + n
local events = #KEYS - 5

-- Whether walking down from the head, epoch by epoch through the breaks, reaches a position.
local below
local function is_visible(id, k_)
  if not below then
    below = {}
    for i = 1, #ARGV[8], 14 do
      local e, bid, bk = struct.unpack('>I4I7I3', ARGV[8], i)
      below[e] = {bid, bk}
    end
    for i = META_BYTES + 1, #meta, BREAK_BYTES do
      local e, bid, bk = struct.unpack(BREAK, meta, i)
      below[e] = {bid, bk}
    end
  end
  local limit_id, limit_k = head_id, k
  while not is_above(id, k_, limit_id, limit_k) do
    local e = math.floor(limit_id / PER_EPOCH)
    if math.floor(id / PER_EPOCH) == e or not below[e] then return true end
    limit_id, limit_k = below[e][1], below[e][2]
  end
  return false
end

local function verdict(value, digest)
  local id, k_, old = struct.unpack('>I7I3c4', value)
  if old ~= digest then return 'C' end
  return 'D' .. place(id, k_) .. ' ' .. epoch
end

local function opened_ms() return tonumber(string.sub(call('GET', KEYS[1]), 18, 30)) end

local function is_stored(id, k_)
  local stored_id, stored_k = struct.unpack(META_STORED, meta, META_END_BYTES + 1)
  return not is_above(id, k_, stored_id, stored_k)
end

-- Checks. Of an event that is new and has a name, `owner` is its sender's part of this call: what
-- there is to be remembered, and how. `twin` is the event of this call that has the same name.
local answers, ask, owner, owners = {}, '', {}, {}
local twin, same, values
local is_stale = ARGV[9] ~= '' and now_ms() - tonumber(ARGV[9]) > BELIEVED_MS
if events > 1 then twin, same, values = {}, {}, {} end
for i = 1, events do
  local a = FIXED + (i - 1) * PER_EVENT
  local name, digest, looked = ARGV[a + 1], ARGV[a + 2], ARGV[a + 5]
  if name ~= '' then
    local key = KEYS[5 + i]
    local found = call('HMGET', key, name, 's')
    local value, state = found[1], found[2]
    local began, upper_id, upper_k = 0, 0, 0
    if state then began, upper_id, upper_k = struct.unpack(NAMES, state) end
    if not value and upper_id > 0 then
      value = call('HGET', (string.gsub(key, ':d:', ':D:', 1)), name)
    end
    local whose = same and key .. name
    if is_stale and looked ~= '' then looked = '?' end
    if value then answers[i] = verdict(value, digest)
    elseif whose and same[whose] then twin[i] = same[whose]
    else
      if has_store and (looked == '?' or (looked == '' and (not state or tonumber(ARGV[a + 3]) / 1000 - opened_ms() < OLD_ENOUGH_MS))) then
        ask = ask .. ',' .. i
      elseif looked ~= '-' and looked ~= '' then
        for h = 1, #looked, 14 do
          local id, k_ = struct.unpack('>I7I3', looked, h)
          if is_visible(id, k_) then answers[i] = verdict(string.sub(looked, h, h + 13), digest) end
        end
      end
      if not answers[i] then
        local u = owners[key]
        if not u then
          local turns = state and tonumber(ARGV[a + 3]) - began > DAY_US
            and (upper_id == 0 or not has_store or is_stored(upper_id, upper_k))
          -- There are never more names than events.
          local may_be_full = count + events > CAP and state and not turns
          u = {size = may_be_full and call('HLEN', key) - 1 or 0, turns = turns, is_new = not state or turns}
          owners[key] = u
        end
        if u.size >= CAP then answers[i] = 'T'
        else
          u.size = u.size + 1
          owner[i] = u
          if whose then same[whose] = i end
        end
      end
    end
  end
end
if ask ~= '' then return 'L' .. whole(now_ms()) .. ' ' .. string.sub(ask, 2) end

-- Writes. Long texts are made once each: Lua hashes every byte of every text it makes.
local prev = place(head_id, k)
local before_k, t_before, count_before = k, t, count
local news, changed, begin = {}, false, has_store and '' or 'E'
for i = 1, events do
  local a = FIXED + (i - 1) * PER_EVENT
  if twin and twin[i] then answers[i] = verdict(values[twin[i]], ARGV[a + 2]) end
  if not answers[i] then
    local what, body, time = ARGV[a + 4], ARGV[a + 6], ARGV[a + 3]
    local at = tonumber(time)
    if at > t then t = at else t = t + 1; time = whole(t) end
    if what == 'm' then n, k, ordinal = n + 1, 0, ordinal + 1 else k = k + 1 end
    count = count + 1
    local id = epoch * PER_EPOCH + n
    local position = place(id, k)
    local facts = prev .. ' ' .. time .. ' ' .. whole(ordinal) .. ' ' .. whole(count)
    call('XADD', KEYS[3], position, 'm', facts .. ' ' .. body)
    if what ~= 'm' then
      changed = true
      local target, is_delete = string.sub(what, 2), string.byte(what) == 100
      local known = call('HGET', KEYS[4], target) or ' '
      local edit, delete = string.match(known, '^(%S*) (%S*)$')
      if is_delete then delete = position elseif delete == '' then edit = position end
      call('HSET', KEYS[4], target, edit .. ' ' .. delete)
    end
    local u = owner[i]
    if u then
      local value = struct.pack('>I7I3c4', id, k, ARGV[a + 2])
      if values then values[i] = value end
      u[#u + 1] = ARGV[a + 1]
      u[#u + 1] = value
    end
    local line = position .. ' ' .. facts
    if count_before + 1 == count then news = {begin, line, ' ', body}
    else
      local m = #news
      news[m + 1], news[m + 2], news[m + 3], news[m + 4] = '\n', line, ' ', body
    end
    answers[i] = 'N' .. line
    prev = position
  elseif ARGV[3] == 'later' then
    -- A repeat is acknowledged only once the replicas have everything before it, and WAIT waits for
    -- the last write of its own connection: so there is one.
    call('SET', KEYS[2], meta)
  end
end
if count == count_before then return answers end
for key, u in pairs(owners) do
  if #u > 0 then
    if u.is_new then
      local upper_id, upper_k = 0, 0
      if u.turns then
        call('RENAME', key, (string.gsub(key, ':d:', ':D:', 1)))
        upper_id, upper_k = head_id, before_k
      end
      u[#u + 1] = 's'
      u[#u + 1] = struct.pack(NAMES, t, upper_id, upper_k)
    end
    call('HSET', key, unpack(u))
    if u.is_new and not has_store then call('PEXPIRE', key, KEEP_NAMES_MS) end
  end
end
local rest = string.sub(meta, META_END_BYTES + 1)
call('SET', KEYS[2], struct.pack(META_END, VERSION, epoch, n, k, t, ordinal, count) .. rest)
local told = table.concat(news)
if has_store then
  call('XADD', KEYS[5], '*', ARGV[5], told)
  told = 'E' .. told
else
  if math.floor(count / TRIM_EVERY) ~= math.floor(count_before / TRIM_EVERY) then
    call('XTRIM', KEYS[3], 'MAXLEN', '~', ARGV[6])
  end
  if math.floor(t / HOUR_US) ~= math.floor(t_before / HOUR_US) or count_before == 0 then
    call('PEXPIRE', KEYS[3], ARGV[7])
    call('PEXPIRE', KEYS[4], ARGV[7])
  elseif changed then
    call('PEXPIRE', KEYS[4], ARGV[7])
  end
end
if ARGV[3] ~= 'later' then call(ARGV[3], ARGV[4], told) end
return answers
