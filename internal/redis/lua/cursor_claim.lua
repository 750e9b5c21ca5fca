#!lua flags=allow-oom
-- Lends a reader's place to one process.
-- KEYS: 1 hash of the place
-- ARGV: 1 owner, 2 for how many ms, 3 lifetime in ms
-- Returns whether it was lent, the epoch and the offset.
-- Bounds: by expiry.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local place = redis.call('HMGET', KEYS[1], 'o', 'u', 'e', 'n')
-- Nobody lends a place for a day: an end after that is not ours, and would keep everybody from it.
local ends = tonumber(place[2] or '0')
if place[1] and place[1] ~= ARGV[1] and now < ends and ends < now + 86400000 then
  return {'0', '', '0'}
end
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'u', string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'1', place[3] or '', place[4] or '0'}
