#!lua flags=allow-oom
-- Notes that devices may not have messages of one inbox.
-- KEYS: 1 pub/sub channel
-- ARGV: 1 now in ms, 2 PUBLISH or SPUBLISH, 3 prefix of the delivery hashes, 4 most devices that are told apart, then
--       for each message its id, the device, why, and the envelope of the hint to who watches it
-- The field of a device is then "sent 0 denied why;": its end tells it from one that has only been sent the message.
-- Bounds: makes no key.
for i = 5, #ARGV, 4 do
  local key, field = ARGV[3] .. ARGV[i], 'c:' .. ARGV[i + 1]
  local d = redis.call('HMGET', key, 'e', 'en', field, 'w')
  local sent = d[3] and string.match(d[3], '^(%d+) 0$')
  if d[1] and not d[2] and (sent or not d[3]) then
    redis.call('HSET', key, 'dw', ARGV[i + 2])
    if redis.call('HINCRBY', key, 'dn', 1) <= tonumber(ARGV[4]) or sent then
      redis.call('HSET', key, field, (sent or '0') .. ' 0 ' .. ARGV[1] .. ' ' .. ARGV[i + 2] .. ';')
    end
    if d[4] then
      redis.call(ARGV[2], KEYS[1], ' 0\n' .. ARGV[i + 3])
    end
  end
end
return 1
