#!lua flags=allow-oom
-- Notes that messages of one inbox were written to devices.
-- KEYS: 1 pub/sub channel
-- ARGV: 1 PUBLISH or SPUBLISH, 2 prefix of the delivery hashes, 3 most devices that are told apart, then for each message
--       its id, the device, "1" for a redelivery, and the envelope of the hint to who watches it
-- Bounds: makes no key.
local now = clock()
for i = 4, #ARGV, 4 do
  local key, name, again = ARGV[2] .. ARGV[i], 'c:' .. ARGV[i + 1], ARGV[i + 2] == '1'
  local d = redis.call('HMGET', key, 'e', name, 'w', 'd', 'n')
  local v = known(d[2])
  local counts = not v or again and v.acked == '0' and v.denied == '0'
  if d[1] and counts then
    if again or not d[4] then -- what arrives at several devices at once was delivered once
      redis.call('HINCRBY', key, 'd', 1)
    end
    if v then
      v.times = string.format('%.0f', v.times + 1)
      redis.call('HSET', key, name, field(v))
    elseif tonumber(d[5] or '0') < tonumber(ARGV[3]) then
      redis.call('HINCRBY', key, 'n', 1)
      redis.call('HSET', key, name, field({sent = now, acked = '0', times = '1', denied = '0', why = ''}))
    end
    if d[3] then
      redis.call(ARGV[1], KEYS[1], ' 0\n' .. ARGV[i + 3])
    end
  end
end
return 1
