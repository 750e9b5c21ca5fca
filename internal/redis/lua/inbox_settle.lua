#!lua flags=allow-oom
-- Settles one message whose time may have come: notes that it is stored, or removes it.
-- KEYS: 1 stream, 2 delivery hash, 3 pub/sub channel, 4 collapse hash, 5 acknowledged by all
-- ARGV: 1 id, 2 PUBLISH or SPUBLISH, 3 envelope of the hint to who watches it, 4 for how many ms a delivery
--       is remembered after its end, 5 "" or why the message is removed now, 6 "" or as of when in ms
-- Returns "gone", "same", "stored" or "expired", and when to look again in ms, 0 for never.
-- Bounds: makes no key.
local d = redis.call('HMGET', KEYS[2], 'e', 'en', 'a', 'x', 'so', 'w', 'ck', 'r')
local now = clock()
if ARGV[6] ~= '' and tonumber(ARGV[6]) < tonumber(now) then
  now = ARGV[6]
end
local expired = d[1] and tonumber(now) >= tonumber(d[4])
if not d[1] or d[2] then
  if expired and not d[8] then -- it was acknowledged by all, and kept for others
    redis.pcall('XDEL', KEYS[1], d[1])
    redis.call('ZREM', KEYS[5], d[1])
  end
  return {'gone', '0'}
end
local what, next = 'same', d[3]
if tonumber(d[4]) < tonumber(next) then
  next = d[4]
end
if ARGV[5] ~= '' or expired then
  redis.pcall('XDEL', KEYS[1], d[1])
  redis.call('HSET', KEYS[2], 'r', ARGV[5] ~= '' and ARGV[5] or 'ttl', 'en', now)
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  if d[7] and redis.call('HGET', KEYS[4], d[7]) == ARGV[1] then
    redis.call('HDEL', KEYS[4], d[7])
  end
  what, next = 'expired', '0'
elseif tonumber(now) >= tonumber(d[3]) then
  next = d[4]
  if not d[5] then
    redis.call('HSET', KEYS[2], 'so', 1)
    what = 'stored'
  end
end
if what ~= 'same' and d[6] then
  redis.call(ARGV[2], KEYS[3], ' 0\n' .. ARGV[3])
end
return {what, next}
