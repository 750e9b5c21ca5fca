#!lua flags=no-writes
-- Carries out one command that reads a value.
-- KEYS: 1 hash of the values
-- ARGV: 1 verb, GET or TTL, 2 key
-- Returns {"text", value}, {"number", n} or {"missing"}.
-- Bounds: writes nothing.
local value, ends = read(ARGV[2])
if ARGV[1] == 'GET' then
  if not value then
    return {'missing'}
  end
  return {'text', value}
elseif not value then
  return {'number', '-2'}
elseif ends == '0' then
  return {'number', '-1'}
end
return {'number', string.format('%.0f', math.floor((ends - now + 999) / 1000))}
