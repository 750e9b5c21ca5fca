-- Remembers since when a subject's tokens are refused; a later time wins.
-- KEYS: 1 revocation
-- ARGV: 1 time in ms, 2 lifetime in ms
-- Bounds: by expiry.
local at = ARGV[1]
local old = redis.call('GET', KEYS[1])
if old and tonumber(old) > tonumber(at) then
  at = old
end
redis.call('SET', KEYS[1], at, 'PX', ARGV[2])
return at
