#!lua flags=allow-oom
-- Looks at one message whose time may have come: notes that it is stored, or removes it.
-- KEYS: 1 stream, 2 delivery hash, 3 pub/sub channel, 4 collapse hash
-- ARGV: 1 id, 2 now in ms, 3 PUBLISH or SPUBLISH, 4 envelope of the hint to who watches it, 5 for how many ms a delivery
--       is remembered after its end, 6 "" or why the message is removed now
-- Returns "gone", "same", "stored" or "expired", and when to look again in ms, 0 for never.
-- Bounds: makes no key.
local d = redis.call('HMGET', KEYS[2], 'e', 'en', 'a', 'x', 'so', 'w', 'ck', 's', 'n', 'k')
if not d[1] or d[2] then
  return {'gone', 0}
end
local now = tonumber(ARGV[2])
local what, next = 'same', d[3]
if ARGV[6] ~= '' or now >= tonumber(d[4]) then
  local why = ARGV[6]
  if why == '' then
    why = 'ttl'
  end
  redis.call('XDEL', KEYS[1], d[1])
  redis.call('HSET', KEYS[2], 'r', why, 'en', ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  if d[7] ~= '' and redis.call('HGET', KEYS[4], d[7]) == ARGV[1] then
    redis.call('HDEL', KEYS[4], d[7])
  end
  what, next = 'expired', 0
elseif now >= tonumber(d[3]) then
  next = d[4]
  local sent, acked = tonumber(d[9] or '0'), tonumber(d[10] or '0')
  if not d[5] and not (d[8] == '2' and sent > 0 and acked >= sent) then
    redis.call('HSET', KEYS[2], 'so', 1)
    what = 'stored'
  end
end
if what ~= 'same' and d[6] then
  redis.call(ARGV[3], KEYS[3], ' 0\n' .. ARGV[4])
end
return {what, next}
