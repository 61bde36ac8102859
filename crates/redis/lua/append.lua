-- Appends events of one conversation, in order.
--
-- KEYS  1 epoch · 2 meta · 3 log · 4 changes · 5 ingest · then per event: the dedupe hash of its
--       sender in this conversation (of an event without a name: meta, which is not used as one).
--       The sender's older generation has the same key with "D" for "d".
-- ARGV  1 run · 2 "store" or "log" · 3 publishing command, or "later" · 4 channel · 5 conversation
--       6 entries kept and 7 ms kept (of "log") · 8 breaks known to the store: per break epoch u32,
--       id u56, k u24 · then per event: name (12 bytes or empty) · content digest (4 bytes) ·
--       time at receipt, µs · what it is: "m", "e<id>", "d<id>" · look-up: "" not asked,
--       "?" to be asked for in any case, "-" asked, else hits of id u56, k u24, digest c4 · body
-- Gives "E": open the epoch first · "B<epoch> <now, ms>": set the mark first · "L<i>,<j>…": look these up
--       first; in each of these cases nothing was written. Else one text per event:
--       "N<position> <prev> <t> <ordinal> <count>", "D<position>" as before, "C" another content
--       than before, "T" too many names.
-- Atomic because a position, its name, its entry and the news of it must exist together or not at
-- all: everything is checked before the first write, and the news goes out last.
local FIXED, PER_EVENT, DAY_US, CAP = 8, 6, 86400000000, 20000
local OLD_ENOUGH_MS = 600000
local KEEP_NAMES_MS, HOUR_US, TRIM_EVERY = 172800000, 3600000000, 64
local NAMES = '>I7I7I3'

local epoch, opened = epoch_of(KEYS[1], ARGV[1])
if not epoch then return 'E' end
local meta = call('GET', KEYS[2])
if not meta then return needs_mark(epoch) end
local _, at_epoch, n, k, t, ordinal, count, stored_id, stored_k = struct.unpack(META, meta)
if at_epoch ~= epoch then return needs_mark(epoch) end
local breaks = string.sub(meta, META_BYTES + 1)
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
    for i = 1, #breaks, BREAK_BYTES do
      local e, bid, bk = struct.unpack(BREAK, breaks, i)
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
  return 'D' .. place(id, k_)
end

-- Checks.
local answers, names, ask, same, used = {}, {}, {}, {}, {}
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
    local twin = same[key .. name]
    if value then answers[i] = verdict(value, digest)
    elseif twin then names[i] = twin
    else
      local young = tonumber(ARGV[a + 3]) / 1000 - opened < OLD_ENOUGH_MS
      if has_store and (looked == '?' or (looked == '' and (not state or young))) then
        ask[#ask + 1] = i
      elseif looked ~= '-' and looked ~= '' then
        for h = 1, #looked, 14 do
          local id, k_ = struct.unpack('>I7I3', looked, h)
          if is_visible(id, k_) then answers[i] = verdict(string.sub(looked, h, h + 13), digest) end
        end
      end
      if not answers[i] then
        local turns = state and tonumber(ARGV[a + 3]) - began > DAY_US
          and (upper_id == 0 or not has_store or not is_above(upper_id, upper_k, stored_id, stored_k))
        local u = used[key]
        if not u then
          u = {size = (state and not turns) and call('HLEN', key) - 1 or 0, turns = turns, is_new = not state or turns}
          used[key] = u
        end
        if u.size >= CAP then answers[i] = 'T'
        else
          u.size = u.size + 1
          names[i] = {}
          same[key .. name] = names[i]
        end
      end
    end
  end
end
if #ask > 0 then return 'L' .. table.concat(ask, ',') end

-- Writes.
local prev = place(head_id, k)
local before_id, before_k, t_before, count_before = head_id, k, t, count
local news, remembered, changed = {}, {}, false
for i = 1, events do
  local name = names[i]
  if name and name.value then answers[i] = verdict(name.value, ARGV[FIXED + (i - 1) * PER_EVENT + 2]) end
  if not answers[i] then
    local a = FIXED + (i - 1) * PER_EVENT
    local what = ARGV[a + 4]
    t = math.max(tonumber(ARGV[a + 3]), t + 1)
    if what == 'm' then n, k, ordinal = n + 1, 0, ordinal + 1 else k = k + 1 end
    count = count + 1
    local id = epoch * PER_EPOCH + n
    local position = place(id, k)
    local facts = prev .. ' ' .. whole(t) .. ' ' .. whole(ordinal) .. ' ' .. whole(count)
    local text = facts .. ' ' .. ARGV[a + 6]
    call('XADD', KEYS[3], position, 'm', text)
    if what ~= 'm' then
      changed = true
      local target, is_delete = string.sub(what, 2), string.byte(what) == 100
      local known = call('HGET', KEYS[4], target) or ' '
      local edit, delete = string.match(known, '^(%S*) (%S*)$')
      if is_delete then delete = position elseif delete == '' then edit = position end
      call('HSET', KEYS[4], target, edit .. ' ' .. delete)
    end
    if name then
      name.value = struct.pack('>I7I3c4', id, k, ARGV[a + 2])
      local key = KEYS[5 + i]
      local r = remembered[key]
      if not r then r = {}; remembered[key] = r end
      r[#r + 1] = ARGV[a + 1]
      r[#r + 1] = name.value
    end
    news[#news + 1] = position .. ' ' .. text
    answers[i] = 'N' .. position .. ' ' .. facts
    prev = position
  elseif ARGV[3] == 'later' then
    -- A repeat is acknowledged only once the replicas have everything before it, and WAIT waits for
    -- the last write of its own connection: so there is one.
    call('SET', KEYS[2], meta)
  end
end
if #news == 0 then return answers end
for key, r in pairs(remembered) do
  local u = used[key]
  if u.is_new then
    local upper_id, upper_k = 0, 0
    if u.turns then
      call('RENAME', key, (string.gsub(key, ':d:', ':D:', 1)))
      upper_id, upper_k = before_id, before_k
    end
    r[#r + 1] = 's'
    r[#r + 1] = struct.pack(NAMES, t, upper_id, upper_k)
  end
  call('HSET', key, unpack(r))
  if u.is_new and not has_store then call('PEXPIRE', key, KEEP_NAMES_MS) end
end
call('SET', KEYS[2], struct.pack(META, VERSION, epoch, n, k, t, ordinal, count, stored_id, stored_k) .. breaks)
local told = table.concat(news, '\n')
if has_store then
  call('XADD', KEYS[5], '*', ARGV[5], told)
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
if ARGV[3] ~= 'later' then call(ARGV[3], ARGV[4], 'E' .. told) end
return answers
