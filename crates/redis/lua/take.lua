-- Takes members from the budget that all gateways share: how many may be sent to the others now.
--
-- KEYS  1 leases, as in lease.lua · 2 loads, as there
--       3 bucket: "<filled at, ms of this server's clock> <thousandths of a member>"
-- ARGV  1 gateway that asks · 2 its load, or "" · 3 how many it would like
--       4 most that the bucket holds, as ms of its rate · 5 how long it is kept, ms
-- Gives how many it gets, and how many all others that are ready take in a second.
-- Atomic because several ask at a time, and what one gets no other may.
local now = now_ms()
if ARGV[2] ~= '' then call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
local all, deadlines = call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do deadlines[all[i]] = tonumber(all[i + 1]) end
local loads, rate = call('HGETALL', KEYS[2]), 0
for i = 1, #loads, 2 do
  local gateway, accepts = loads[i], string.match(loads[i + 1], '^%d+ (%d+) ready$')
  if accepts and gateway ~= ARGV[1] and (deadlines[gateway] or 0) >= now then
    rate = rate + tonumber(accepts)
  end
end
-- One at least, or a small rate would never give any.
local full = rate > 0 and math.max(1000, rate * tonumber(ARGV[4])) or 0
local has, bucket = full, call('GET', KEYS[3])
if bucket then
  local at, left = string.match(bucket, '^(%d+) (%d+)$')
  -- After a failover the clock may have gone back.
  has = math.min(full, tonumber(left) + math.max(0, now - tonumber(at)) * rate)
end
local given = math.min(tonumber(ARGV[3]), math.floor(has / 1000))
call('SET', KEYS[3], whole(now) .. ' ' .. whole(has - given * 1000), 'PX', ARGV[5])
return {given, rate}
