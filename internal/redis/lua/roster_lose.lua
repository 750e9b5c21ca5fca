#!lua flags=allow-oom
-- Notes that the connection of a member broke.
-- KEYS: 1 members, 2 lost members by the end of their grace
-- ARGV: 1 connection, 2 how many ms ago, 3 grace in ms, 4 lifetime in ms
-- Bounds: by expiry.
local member = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^%d+ (.*)$')
if not member then
  return 0
end
local t = redis.call('TIME')
local lost = t[1] * 1000 + math.floor(t[2] / 1000) - ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', lost) .. ' ' .. member)
redis.call('ZADD', KEYS[2], string.format('%.0f', lost + ARGV[3]), ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
