-- Renews a gateway's lease, says how it stands, and reads all of them.
--
-- KEYS  1 leases: hash of gateway -> deadline, ms of this server's clock
--       2 loads: hash of gateway -> "<members> <accepts per second> <standing>"
-- ARGV  1 gateway · 2 for how long, ms · 3 how long a lease that ran out is remembered, ms
--       4 its load, or "": nothing is said
-- Gives gateway, milliseconds left (negative: ran out), and load or "" in turns.
-- Atomic because leases are judged by one clock, that of the server.
local now = now_ms()
call('HSET', KEYS[1], ARGV[1], whole(now + tonumber(ARGV[2])))
if ARGV[4] ~= '' then call('HSET', KEYS[2], ARGV[1], ARGV[4]) end
local flat, loads = call('HGETALL', KEYS[2]), {}
for i = 1, #flat, 2 do loads[flat[i]] = flat[i + 1] end
local all, answer = call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local gateway, left = all[i], tonumber(all[i + 1]) - now
  if left < -tonumber(ARGV[3]) then
    call('HDEL', KEYS[1], gateway)
  else
    answer[#answer + 1] = gateway
    answer[#answer + 1] = whole(left)
    answer[#answer + 1] = left >= 0 and loads[gateway] or ''
    if left >= 0 then loads[gateway] = nil end
  end
end
-- What is left is of gateways that are gone.
for gateway in pairs(loads) do call('HDEL', KEYS[2], gateway) end
return answer
