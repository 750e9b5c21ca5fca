#!lua flags=allow-oom
-- Notes when to look at a member of a sorted set again.
-- KEYS: 1 sorted set
-- ARGV: 1 member, 2 when, in ms
-- Bounds: adds nothing.
return redis.call('ZADD', KEYS[1], 'XX', ARGV[2], ARGV[1])
