#!lua flags=allow-oom
-- Notes that a node is alive, and forgets nodes that have not been for long. The first one after a time in which nobody was
-- heard of, because the store was away, gives the others time to be; and those that have died, time to be reaped.
-- KEYS: 1 hash of nodes, 2 sorted set of nodes by the time they were heard of, 3 until when nobody is taken for dead
-- ARGV: 1 name, 2 node as JSON, 3 after how many ms a node is forgotten, 4 how long a node counts as alive, in ms
-- Bounds: all keys by expiry.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- A time that is still to come is not ours.
local newest = redis.call('ZRANGE', KEYS[2], now + 60000, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2]
if newest and tonumber(newest) < now - ARGV[4] then
  redis.call('SET', KEYS[3], string.format('%.0f', now + ARGV[4] / 2), 'PX', ARGV[3])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 0 then
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3], 'LIMIT', 0, 100)) do
    redis.call('HDEL', KEYS[1], name)
    redis.call('ZREM', KEYS[2], name)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 10)
redis.call('PEXPIRE', KEYS[2], ARGV[3] * 10)
return 1
