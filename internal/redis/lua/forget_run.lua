#!lua flags=allow-oom
-- Forgets a dead process that has not died again since.
-- KEYS: 1 sorted set of dead processes by the time they were heard of
-- ARGV: 1 process, 2 when it was heard of, in ms
-- Bounds: makes no key.
local heard = redis.call('ZSCORE', KEYS[1], ARGV[1])
if heard and tonumber(heard) == tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
