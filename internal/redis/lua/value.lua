#!lua
-- Carries out one command that writes a value.
-- KEYS: 1 hash of the values
-- ARGV: 1 verb, SET or INCR, 2 value of SET, 3 time to live in ms, 0 for none, 4 how many keys there may be, 5 lifetime of the hash in ms, 6 key
-- Returns {"text", value}, {"number", n}, {"limit"} or {"nan"}.
-- Bounds: the hash by ARGV[4], and by expiry.
local function full(key)
  if redis.call('HEXISTS', KEYS[1], key) == 1 or redis.call('HLEN', KEYS[1]) < tonumber(ARGV[4]) then
    return false
  end
  for _, other in ipairs(redis.call('HKEYS', KEYS[1])) do
    if not read(other) then
      redis.call('HDEL', KEYS[1], other)
    end
  end
  return redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4])
end
local function write(key, ends, value)
  redis.call('HSET', KEYS[1], key, ends .. ' ' .. value)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
local key = ARGV[6]
if ARGV[1] == 'SET' then
  if full(key) then
    return {'limit'}
  end
  write(key, ARGV[3] == '0' and '0' or string.format('%.0f', now + ARGV[3]), ARGV[2])
  return {'text', 'OK'}
end
local value, ends = read(key)
if not value and full(key) then
  return {'limit'}
end
-- Numbers of Lua lose digits beyond 2^53; HINCRBY does not.
local sum = redis.pcall('HSET', KEYS[1], '\0', value or '0') and redis.pcall('HINCRBY', KEYS[1], '\0', 1)
if type(sum) == 'table' then
  redis.call('HDEL', KEYS[1], '\0')
  return {'nan'}
end
local text = redis.call('HGET', KEYS[1], '\0')
redis.call('HDEL', KEYS[1], '\0')
write(key, ends or '0', text)
return {'number', text}
