#!lua flags=no-writes
-- Reads what decides about a message whose time may have come.
-- KEYS: 1 delivery hash
-- Returns the time in ms, and values of the hash.
local d = redis.call('HMGET', KEYS[1], 'e', 'a', 'x', 'en', 'r', 'so', 'f')
return {clock(), d}
