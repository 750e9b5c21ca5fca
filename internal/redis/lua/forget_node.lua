#!lua flags=allow-oom
-- Forgets a node that has not been heard of since.
-- KEYS: 1 hash of nodes, 2 sorted set of nodes by the time they were heard of
-- ARGV: 1 name, 2 when it was last heard of, in ms
-- Bounds: makes no key.
local heard = redis.call('ZSCORE', KEYS[2], ARGV[1])
if heard and tonumber(heard) <= tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return 1
