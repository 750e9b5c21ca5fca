#!lua flags=allow-oom
-- Moves the processes that were not heard of lately to the dead ones, and returns some of these, each with the time in ms
-- at which it was heard of last.
-- KEYS: 1 sorted set of processes by the time they were heard of, 2 the same of dead ones
-- ARGV: 1 how long a process counts as alive, in ms, 2 limit, 3 lifetime in ms
-- Bounds: by expiry.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local silent = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[1]), 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #silent, 2 do
  redis.call('ZREM', KEYS[1], silent[i])
  redis.call('ZADD', KEYS[2], 'NX', silent[i + 1], silent[i])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return redis.call('ZRANGE', KEYS[2], 0, ARGV[2] - 1, 'WITHSCORES')
