#!lua
-- Notes when a message has to be looked at. Its address may be of another slot, and of another server's clock: settling it goes
-- by that one.
-- KEYS: 1 sorted set
-- ARGV: 1 member, 2 in how many ms, 3 lifetime of the sorted set in ms
-- Bounds: the sorted set by expiry, and its members by that of their messages.
redis.call('ZADD', KEYS[1], string.format('%.0f', clock() + ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
