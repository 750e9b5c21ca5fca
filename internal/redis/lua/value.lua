-- Carries out one command on the values of an owner.
-- KEYS: 1 hash of the values: "<end in ms, 0 for never> <value>"
-- ARGV: 1 verb, 2 value of SET, 3 time to live in ms, 0 for none, 4 how many keys there may be, 5 lifetime of the hash in ms, 6... keys
-- Returns {"text", value}, {"number", n}, {"missing"}, {"limit"} or {"nan"}.
-- Bounds: the hash by ARGV[4], and by expiry.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function read(key)
  local raw = redis.call('HGET', KEYS[1], key)
  if not raw then
    return nil
  end
  local ends, value = string.match(raw, '^(%d+) (.*)$')
  if ends ~= '0' and tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], key)
    return nil
  end
  return value, ends
end
local function full(key)
  if redis.call('HEXISTS', KEYS[1], key) == 1 or redis.call('HLEN', KEYS[1]) < tonumber(ARGV[4]) then
    return false
  end
  for _, other in ipairs(redis.call('HKEYS', KEYS[1])) do
    read(other)
  end
  return redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4])
end
local function write(key, ends, value)
  redis.call('HSET', KEYS[1], key, ends .. ' ' .. value)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
local function after(ms)
  return string.format('%.0f', now + ms)
end
local verb, key = ARGV[1], ARGV[6]
if verb == 'GET' then
  local value = read(key)
  if not value then
    return {'missing'}
  end
  return {'text', value}
elseif verb == 'SET' then
  if full(key) then
    return {'limit'}
  end
  write(key, ARGV[3] == '0' and '0' or after(ARGV[3]), ARGV[2])
  return {'text', 'OK'}
elseif verb == 'DEL' then
  local n = 0
  for i = 6, #ARGV do
    if read(ARGV[i]) then
      n = n + redis.call('HDEL', KEYS[1], ARGV[i])
    end
  end
  return {'number', tostring(n)}
elseif verb == 'INCR' then
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
elseif verb == 'EXPIRE' then
  local value = read(key)
  if not value then
    return {'number', '0'}
  elseif tonumber(ARGV[3]) <= 0 then
    redis.call('HDEL', KEYS[1], key)
  else
    write(key, after(ARGV[3]), value)
  end
  return {'number', '1'}
end
local value, ends = read(key)
if not value then
  return {'number', '-2'}
elseif ends == '0' then
  return {'number', '-1'}
end
return {'number', string.format('%.0f', math.floor((ends - now + 999) / 1000))}
