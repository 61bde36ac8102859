-- Renews a gateway's lease and reads all of them.
--
-- KEYS  1 leases: hash of gateway -> deadline, ms of this server's clock
-- ARGV  1 gateway · 2 for how long, ms · 3 how long a lease that ran out is remembered, ms
-- Gives gateway and milliseconds left (negative: ran out) in turns.
-- Atomic because leases are judged by one clock, that of the server.
local now = now_ms()
call('HSET', KEYS[1], ARGV[1], whole(now + tonumber(ARGV[2])))
local all, answer = call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local left = tonumber(all[i + 1]) - now
  if left < -tonumber(ARGV[3]) then
    call('HDEL', KEYS[1], all[i])
  else
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = whole(left)
  end
end
return answer
