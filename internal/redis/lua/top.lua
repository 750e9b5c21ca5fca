-- Returns the newest position of an address, making an epoch for one that has none.
-- KEYS: 1 meta hash, 2 stream
-- ARGV: 1 proposed epoch, 2 lifetime of the meta hash in ms
-- Bounds: the meta hash by expiry.
local meta = redis.call('HMGET', KEYS[1], 'e', 'o')
if not meta[1] then
  redis.call('DEL', KEYS[2])
  local info = redis.pcall('INFO', 'replication')
  redis.call('HSET', KEYS[1], 'e', ARGV[1], 'r', type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or '')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {ARGV[1], '0'}
end
return {meta[1], meta[2] or '0'}
