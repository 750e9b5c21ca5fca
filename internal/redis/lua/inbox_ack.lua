#!lua flags=allow-oom
-- Acknowledges messages of one inbox for one device.
-- KEYS: 1 stream, 2 pub/sub channel, 3 collapse hash
-- ARGV: 1 device, 2 now in ms, 3 PUBLISH or SPUBLISH, 4 prefix of the delivery hashes, 5 for how many ms a delivery is
--       remembered after its end, 6 most devices that are told apart, then for each message its id, the envelope of its
--       dismissal and that of the hint to who watches it
-- Returns for each message 1, or 0 when it is not known.
-- Bounds: makes no key.
local out = {}
for i = 7, #ARGV, 3 do
  local id, key = ARGV[i], ARGV[4] .. ARGV[i]
  local d = redis.call('HMGET', key, 'e', 's', 'en', 'c:' .. ARGV[1], 'w', 'ck')
  if not d[1] then
    out[#out + 1] = 0
  else
    out[#out + 1] = 1
    local acked = d[4] and not string.match(d[4], ' 0$')
    if acked and not d[3] and string.match(d[4], '^[1-9]%d* 0 ') then -- denied after it had been given it
      acked = false
      redis.call('HINCRBY', key, 'dn', -1)
    end
    if not acked and not d[3] then
      local sent = d[4] and string.match(d[4], '^(%d+)') or ARGV[2]
      if not d[4] then
        redis.call('HINCRBY', key, 'n', 1)
      end
      if redis.call('HINCRBY', key, 'k', 1) <= tonumber(ARGV[6]) or d[4] then
        redis.call('HSET', key, 'c:' .. ARGV[1], sent .. ' ' .. ARGV[2])
      end
      if d[2] == '1' then
        redis.call('XDEL', KEYS[1], d[1])
        redis.call('HSET', key, 'en', ARGV[2])
        redis.call('PEXPIRE', key, ARGV[5])
        if d[6] ~= '' and redis.call('HGET', KEYS[3], d[6]) == id then
          redis.call('HDEL', KEYS[3], d[6])
        end
        redis.call(ARGV[3], KEYS[2], ' 0\n' .. ARGV[i + 1])
      end
      if d[5] then
        redis.call(ARGV[3], KEYS[2], ' 0\n' .. ARGV[i + 2])
      end
    end
  end
end
return out
