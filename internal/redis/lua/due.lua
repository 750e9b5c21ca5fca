#!lua flags=allow-oom
-- Lends out members of a sorted set whose time has come.
-- KEYS: 1 sorted set
-- ARGV: 1 now in ms, 2 limit, 3 until when they are lent, in ms
-- Bounds: adds nothing.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do
  redis.call('ZADD', KEYS[1], 'XX', ARGV[3], member)
end
return due
