#!lua flags=no-writes
-- Returns the newest position of an address that is not hidden; an empty epoch for one that has none.
-- KEYS: 1 meta hash
local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 'v')
return {meta[1] or '', meta[3] or meta[2] or '0'}
