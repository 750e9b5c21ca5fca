#!lua flags=allow-oom
-- Notes that a process is alive.
-- KEYS: 1 sorted set of processes by the time they were heard of
-- ARGV: 1 process, 2 lifetime in ms
-- Bounds: by expiry.
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], t[1] * 1000 + math.floor(t[2] / 1000), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
