-- Put before the scripts that read cursors.
--
-- Whether recall.lua has merged what the store has ("1" or "0"), then user, delivered, read in turns, for
-- every user among the highest `limit` of either kind; and a function that adds another user.
local function highest(read_key, delivered_key, limit)
  local seen, answer = {['']=true}, {call('ZSCORE', read_key, '') and '1' or '0'}
  local function add(user)
    if seen[user] then return end
    seen[user] = true
    answer[#answer + 1] = user
    answer[#answer + 1] = whole(tonumber(call('ZSCORE', delivered_key, user) or '0'))
    answer[#answer + 1] = whole(tonumber(call('ZSCORE', read_key, user) or '0'))
  end
  local last = limit - 1
  if last >= 0 then
    for _, user in ipairs(call('ZREVRANGE', read_key, 0, last)) do add(user) end
    for _, user in ipairs(call('ZREVRANGE', delivered_key, 0, last)) do add(user) end
  end
  return answer, add
end
