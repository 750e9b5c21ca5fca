#!lua flags=no-writes
-- Says how many members a sorted set has, and for how many ms the first has been due.
-- KEYS: 1 sorted set
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local late = first[2] and clock() - first[2] or 0
return {redis.call('ZCARD', KEYS[1]), math.max(late, 0)}
