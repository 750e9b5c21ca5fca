#!lua flags=allow-oom
-- Notes how far a reader has come, for the process that holds its place.
-- KEYS: 1 hash of the place
-- ARGV: 1 owner, 2 for how many ms it goes on to hold it, 3 lifetime in ms, 4 epoch, 5 offset
-- Returns whether it holds it.
-- Bounds: by expiry.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local place = redis.call('HMGET', KEYS[1], 'o', 'u')
if place[1] ~= ARGV[1] or now >= tonumber(place[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'u', string.format('%.0f', now + ARGV[2]), 'e', ARGV[4], 'n', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
