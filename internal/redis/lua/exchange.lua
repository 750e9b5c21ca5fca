#!lua
-- Makes another token the newest of its family and remembers the answer; a repeat gets that answer as long as it is kept.
-- KEYS: 1 family hash, 2 answer
-- ARGV: 1 digest of the token that was shown, 2 digest of its successor, 3 value of the family, 4 lifetime in ms,
--       5 answer, 6 how long it is kept, in ms
-- Bounds: by expiry.
local family = redis.call('HMGET', KEYS[1], 'n', 'b')
if not family[1] then
  return false
end
if family[1] == ARGV[1] then
  redis.call('HSET', KEYS[1], 'n', ARGV[2], 'b', ARGV[1], 'v', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[6])
  return {'done'}
end
local answer = family[2] == ARGV[1] and redis.call('GET', KEYS[2])
if answer then
  return {'again', answer}
end
return {'stale'}
