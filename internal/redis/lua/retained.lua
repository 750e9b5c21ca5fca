-- Reads the last message that is retained, and says on a pub/sub channel where it was read.
-- KEYS: 1 retained message
-- ARGV: 1 pub/sub channel, 2 what is said
-- A key that holds something else, of another program, holds no message.
local kept = redis.pcall('GET', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return type(kept) == 'string' and kept or false
