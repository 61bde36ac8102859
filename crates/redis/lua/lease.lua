-- Renews a lease, of a gateway or of a persister, and reads all of its kind. A gateway also says how it
-- stands.
--
-- KEYS  1 leases: hash of holder -> deadline, ms of this server's clock
--       2 of gateways alone, loads: hash of gateway -> "<members> <accepts per second> <standing>"
-- ARGV  1 holder · 2 for how long, ms · 3 how long a lease that ran out is remembered, ms
--       4 of gateways alone, its load, or "": nothing is said
-- Gives holder, milliseconds left (negative: ran out), and load or "" in turns.
-- Atomic because leases are judged by one clock, that of the server.
local now = now_ms()
call('HSET', KEYS[1], ARGV[1], whole(now + tonumber(ARGV[2])))
if (ARGV[4] or '') ~= '' then call('HSET', KEYS[2], ARGV[1], ARGV[4]) end
local flat, loads = KEYS[2] and call('HGETALL', KEYS[2]) or {}, {}
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
