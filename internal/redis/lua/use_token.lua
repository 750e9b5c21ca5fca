#!lua
-- Returns a token's value and how often it had been used before, and counts this use.
-- KEYS: 1 token hash
local value = redis.call('HGET', KEYS[1], 'v')
if not value then
  return false
end
return {value, redis.call('HINCRBY', KEYS[1], 'u', 1) - 1}
