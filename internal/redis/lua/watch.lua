#!lua
-- Marks a delivery as watched.
-- KEYS: 1 delivery hash
-- Bounds: makes no key.
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'w', 1)
end
return 1
