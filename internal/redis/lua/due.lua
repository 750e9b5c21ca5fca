#!lua flags=allow-oom
-- Lends out members of a sorted set whose time has come.
-- KEYS: 1 sorted set
-- ARGV: 1 limit, 2 for how many ms they are lent
-- Bounds: adds nothing, and takes no more than limit.
local now = clock()
local until_ = string.format('%.0f', now + ARGV[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
  redis.call('ZADD', KEYS[1], 'XX', until_, member)
end
return due
