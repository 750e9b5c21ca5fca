#!lua flags=no-writes
-- Returns the nodes that were heard of lately, as JSON.
-- KEYS: 1 hash of nodes, 2 sorted set of nodes by the time they were heard of
-- ARGV: 1 how long a node counts as alive, in ms
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local names = redis.call('ZRANGEBYSCORE', KEYS[2], now - ARGV[1], '+inf')
local nodes = {}
for i, name in ipairs(names) do
  nodes[i] = redis.call('HGET', KEYS[1], name) or ''
end
return nodes
