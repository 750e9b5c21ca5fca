#!lua
-- Makes the epoch of an address that has none, and returns its newest position.
-- KEYS: 1 stream, 2 meta hash
-- ARGV: 1 proposed epoch, 2 lifetime of the meta hash in ms
-- Bounds: the meta hash by expiry.
local epoch = current(ARGV[1])
if not epoch then
  return unproved
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {epoch, redis.call('HGET', KEYS[2], 'o') or '0'}
