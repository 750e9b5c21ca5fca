#!lua flags=allow-oom
-- Notes that devices may not have messages of one inbox.
-- KEYS: 1 pub/sub channel
-- ARGV: 1 PUBLISH or SPUBLISH, 2 prefix of the delivery hashes, 3 most devices that are told apart, then
--       for each message its id, the device, why, and the envelope of the hint to who watches it
-- Bounds: makes no key.
local now = clock()
for i = 4, #ARGV, 4 do
  local key, name = ARGV[2] .. ARGV[i], 'c:' .. ARGV[i + 1]
  local d = redis.call('HMGET', key, 'e', 'en', name, 'w')
  local v = known(d[3])
  if d[1] and not d[2] and not (v and (v.acked ~= '0' or v.denied ~= '0')) then
    redis.call('HSET', key, 'dw', ARGV[i + 2])
    if redis.call('HINCRBY', key, 'dn', 1) <= tonumber(ARGV[3]) or v then
      v = v or {sent = '0', times = '0'}
      redis.call('HSET', key, name, field({sent = v.sent, acked = '0', times = v.times, denied = now, why = ARGV[i + 2]}))
    end
    if d[4] then
      redis.call(ARGV[1], KEYS[1], ' 0\n' .. ARGV[i + 3])
    end
  end
end
return 1
