-- Put before every script that touches a conversation. All keys of a call carry one tag {pNN}, so a
-- script runs on one node, in one slot, and nothing else runs there meanwhile.
--
-- {pNN}:e   "<run> <opened, ms, 13 digits> <epoch>": the partition's epoch and the run it holds for
-- meta      packed: version, epoch, n, k, t, ordinal, count, stored id, stored k, then the breaks
-- log       stream; an entry's id is its position, its one field "prev t ordinal count body"
--
-- Numbers above 10^14 lose digits when Lua writes them by itself, so they go through `whole`. '%d' takes
-- what a C `long` holds, which is 32 bits on some systems, so large ones are written in two halves: a
-- third faster than '%.0f'.
local call = redis.call
local META, META_BYTES, VERSION = '>BI4I5I3I7I6I6I7I3', 42, 1
-- What an append changes of meta, and what follows it.
local META_END, META_STORED, META_END_BYTES = '>BI4I5I3I7I6I6', '>I7I3', 32
local BREAK, BREAK_BYTES = '>I4I7I3I6I6', 26
local PER_EPOCH = 10000000000

local format = string.format

local function whole(number)
  if number < 2147483648 then return format('%d', number) end
  return format('%d%07d', number / 10000000, number % 10000000)
end

-- As a stream id; k has 24 bits.
local function place(id, k)
  if id < 2147483648 then return format('%d-%d', id, k) end
  return format('%d%07d-%d', id / 10000000, id % 10000000, k)
end

-- The epoch in force under `run`; nothing when it has to be opened first.
local function epoch_of(key, run)
  local e = call('GET', key)
  if not e or string.sub(e, 1, 16) ~= run then return nil end
  return tonumber(string.sub(e, 32))
end

-- The server's clock, in ms. What a store answered is judged by it alone.
local function now_ms()
  local time = call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- What has to be done first: the mark of this epoch, from what the store says after this moment.
local function needs_mark(epoch) return 'B' .. epoch .. ' ' .. whole(now_ms()) end

-- Names are kept in generations of a day, capped in each; a hash's field "s" says when it began and
-- up to which position the generation before reaches, if there is one.
local NAMES, DAY_US, NAMES_MAX, NAMES_KEPT_MS = '>I7I7I3', 86400000000, 20000, 172800000
-- In a younger epoch everything is looked up; what the store said is believed for so long.
local OLD_ENOUGH_MS, BELIEVED_MS = 600000, 10000
local HOUR_US, TRIM_EVERY = 3600000000, 64

-- The dedupe hash of the generation before.
local function older(key) return (string.gsub(key, ':d:', ':D:', 1)) end

-- The meta of a conversation that is in its partition's epoch; nothing, and what has to be done first,
-- of any other. For scripts with the epoch and meta as their first keys.
local function ready(run)
  local epoch = epoch_of(KEYS[1], run)
  if not epoch then return nil, 'E' end
  local meta = call('GET', KEYS[2])
  if not meta then return nil, needs_mark(epoch) end
  local _, at_epoch = struct.unpack('>BI4', meta)
  if at_epoch ~= epoch then return nil, needs_mark(epoch) end
  return meta
end

local function is_above(id, k, other_id, other_k)
  return id > other_id or (id == other_id and k > other_k)
end
