#!lua flags=allow-oom
-- Carries out one command that removes values, or says when one ends.
-- KEYS: 1 hash of the values
-- ARGV: 1 verb, DEL or EXPIRE, 2 time to live in ms, 3 lifetime of the hash in ms, 4... keys
-- Returns {"number", n}.
-- Bounds: makes no key.
local n = 0
for i = 4, #ARGV do
  local value = read(ARGV[i])
  if ARGV[1] == 'DEL' or not value or tonumber(ARGV[2]) <= 0 then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f', now + ARGV[2]) .. ' ' .. value)
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
  end
  if value then
    n = n + 1
  end
end
return {'number', tostring(n)}
