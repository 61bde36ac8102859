-- Reads a piece of a conversation's log, each message with what became of it.
--
-- KEYS  1 epoch · 2 meta · 3 log · 4 changes
-- ARGV  1 run · 2 "up" or "down" · 3 where it begins, as XRANGE takes it · 4 how many · 5 "messages"
--       or "events"
-- Gives "E" or "B<epoch> <now, ms>" as head.lua does; else: packed meta · id and text of the log's first
--       entry (both empty when the log is empty) · then per event six texts: position, text,
--       position and text of the edit in force, position and text of the delete (empty if none).
-- Atomic because the changes have to be those of the same moment as the messages. Writes nothing.
local meta, need = ready(ARGV[1])
if not meta then return need end

local answer = {meta, '', ''}
local first = call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
if not first then return answer end
answer[2], answer[3] = first[1], first[2][2]

local function text_at(position)
  local entry = position ~= '' and call('XRANGE', KEYS[3], position, position)[1]
  if entry then return entry[2][2] end
  return ''
end

local wanted, from, taken = tonumber(ARGV[4]), ARGV[3], 0
local only_messages = ARGV[5] == 'messages'
repeat
  local page
  if ARGV[2] == 'up' then page = call('XRANGE', KEYS[3], from, '+', 'COUNT', wanted + 8)
  else page = call('XREVRANGE', KEYS[3], from, '-', 'COUNT', wanted + 8) end
  for i = 1, #page do
    local position, text = page[i][1], page[i][2][2]
    local id, k = string.match(position, '^(%d+)-(%d+)$')
    local is_message = k == '0' and tonumber(id) % PER_EPOCH > 0
    local is_mark = k == '0' and not is_message
    if taken < wanted and not is_mark and (is_message or not only_messages) then
      local edit, delete = '', ''
      if is_message then
        local known = call('HGET', KEYS[4], id)
        if known then edit, delete = string.match(known, '^(%S*) (%S*)$') end
      end
      local a = #answer
      answer[a + 1], answer[a + 2] = position, text
      answer[a + 3], answer[a + 4] = edit, text_at(edit)
      answer[a + 5], answer[a + 6] = delete, text_at(delete)
      taken = taken + 1
    end
    from = '(' .. position
  end
until taken >= wanted or #page < wanted + 8
return answer
