#!lua
-- Begins a family of refresh tokens unless there is one.
-- KEYS: 1 family hash
-- ARGV: 1 digest of the newest token, 2 value, 3 lifetime in ms
-- Bounds: by expiry.
if redis.call('HSETNX', KEYS[1], 'v', ARGV[2]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'n', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
