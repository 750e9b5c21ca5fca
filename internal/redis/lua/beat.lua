-- Notes that a node is alive, and forgets nodes that have not been for long.
-- KEYS: 1 hash of nodes, 2 sorted set of nodes by the time they were heard of
-- ARGV: 1 name, 2 node as JSON, 3 after how many ms a node is forgotten
-- Bounds: both keys by expiry.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3], 'LIMIT', 0, 100)) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 10)
redis.call('PEXPIRE', KEYS[2], ARGV[3] * 10)
return 1
