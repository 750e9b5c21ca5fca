#!lua
-- Notes that messages of one inbox were written to devices.
-- KEYS: 1 pub/sub channel
-- ARGV: 1 now in ms, 2 PUBLISH or SPUBLISH, 3 prefix of the delivery hashes, 4 most devices that are told apart, then
--       for each message its id, the device, and the envelope of the hint to who watches it
-- Bounds: makes no key.
for i = 5, #ARGV, 3 do
  local key, field = ARGV[3] .. ARGV[i], 'c:' .. ARGV[i + 1]
  local d = redis.call('HMGET', key, 'e', field, 'w', 'd')
  if d[1] and not d[2] then
    if redis.call('HINCRBY', key, 'n', 1) <= tonumber(ARGV[4]) then
      redis.call('HSET', key, field, ARGV[1] .. ' 0')
    end
    if not d[4] then
      redis.call('HSET', key, 'd', 1)
    end
    if d[3] then
      redis.call(ARGV[2], KEYS[1], ' 0\n' .. ARGV[i + 2])
    end
  end
end
return 1
