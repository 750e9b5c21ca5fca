#!lua flags=allow-oom
-- Keeps the keys of a roster from expiring. Returns whether the last of them exists.
-- KEYS: the keys
-- ARGV: 1 lifetime in ms
-- Bounds: makes no key.
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[1])
end
return redis.call('EXISTS', KEYS[#KEYS])
