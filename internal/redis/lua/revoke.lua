#!lua flags=allow-oom
-- Remembers since when a subject's tokens are refused; a later time wins, and so does a later end.
-- KEYS: 1 revocation
-- ARGV: 1 time in ms, 2 lifetime in ms
-- Bounds: by expiry.
local at = ARGV[1]
local old = redis.call('GET', KEYS[1])
if old and tonumber(old) > tonumber(at) then
  at = old
end
local ttl = math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[1]))
redis.call('SET', KEYS[1], at, 'PX', ttl)
return at
