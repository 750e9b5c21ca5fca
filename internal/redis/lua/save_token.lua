#!lua
-- Keeps a token's value unless there is one.
-- KEYS: 1 token hash
-- ARGV: 1 value, 2 lifetime in ms
-- Bounds: by expiry.
if redis.call('HSETNX', KEYS[1], 'v', ARGV[1]) == 0 then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
