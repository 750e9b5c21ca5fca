-- Begins the scripts of values. read(key) returns a value and when it ends, in ms, 0 for never; nil when it has ended.
-- KEYS: 1 hash of the values: "<end in ms, 0 for never> <value>"
-- Bounds: writes nothing.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function read(key)
  local raw = redis.call('HGET', KEYS[1], key)
  if not raw then
    return nil
  end
  local ends, value = string.match(raw, '^(%d+) (.*)$')
  if ends ~= '0' and tonumber(ends) <= now then
    return nil
  end
  return value, ends
end
