#!lua flags=allow-oom
-- Ends the claim of a process on a reader's place.
-- KEYS: 1 hash of the place
-- ARGV: 1 owner
-- Bounds: makes no key.
if redis.call('HGET', KEYS[1], 'o') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'u', 0)
end
return 1
