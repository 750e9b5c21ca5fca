#!lua
-- Takes a place in the list of created channels, before the channel is made: counting and taking are one step.
-- KEYS: 1 list of the channels
-- ARGV: 1 name, 2 most channels, 0 for no limit
-- Returns "listed", "there" when the name is in the list already, or "full".
-- Bounds: the list by ARGV[2]; names leave it with their channels.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 'there'
end
if ARGV[2] ~= '0' and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 'full'
end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return 'listed'
