#!lua
-- Publishes one message that asks for an ack, in one step: idempotency, room in the inbox, the next offset, the
-- inbox entry, the record of the delivery, and the push.
-- KEYS: 1 stream, 2 meta hash, 3 pub/sub channel, 4 idempotency hash, 5 delivery hash, 6 top, 7 collapse hash
-- ARGV: 1 envelope, 2 message id, 3 most entries of the inbox, 4 publish time in ms, 5 proposed epoch, 6 digest or "",
--       7 window of the digest in ms, 8 PUBLISH or SPUBLISH, 9 lifetime of the meta hash in ms, 10 scope, 11 deadline
--       in ms, 12 end in ms, 13 collapse key or "", 14 most deliveries, 15 dead letter address or "", 16 prefix of the
--       delivery hashes, 17 for how many ms a delivery is remembered after its end
-- Bounds: the stream by length and expiry, all other keys by expiry.
if ARGV[6] ~= '' then
  local seen = redis.call('HMGET', KEYS[4], 'd', 'e', 'o', 't')
  if seen[1] then
    if seen[1] ~= ARGV[6] then
      return {'mismatch'}
    end
    -- A write, so that a WAIT after this one covers the first.
    redis.call('HSET', KEYS[4], 'd', seen[1])
    return {'again', seen[2], seen[3], seen[4]}
  end
end
local now, ends = tonumber(ARGV[4]), tonumber(ARGV[12])

-- Removes an entry of the inbox and notes why.
local function finish(id, entry, why)
  redis.call('XDEL', KEYS[1], entry)
  redis.call('HSET', ARGV[16] .. id, 'r', why, 'en', ARGV[4])
  redis.call('PEXPIRE', ARGV[16] .. id, ARGV[17])
end

if ARGV[13] ~= '' then
  local old = redis.call('HGET', KEYS[7], ARGV[13])
  if old then
    local entry = redis.call('HGET', ARGV[16] .. old, 'e')
    if entry then
      finish(old, entry, 'collapsed')
    end
  end
end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 64)) do
    local id = entry[2][4]
    local x = redis.call('HGET', ARGV[16] .. id, 'x')
    if not x or tonumber(x) <= now then
      finish(id, entry[1], 'ttl')
    end
  end
  if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then
    return {'full'}
  end
end

local epoch = current(ARGV[5])
local offset = string.format('%.0f', redis.call('HINCRBY', KEYS[2], 'o', 1))
local entry = offset .. '-' .. ARGV[4]
redis.call('XADD', KEYS[1], entry, 'm', ARGV[1], 'i', ARGV[2], 'e', epoch)
local left = math.max(ends - now, 1)
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), left))
redis.call('PEXPIRE', KEYS[2], math.max(tonumber(ARGV[9]), left))
redis.call('SET', KEYS[6], epoch .. ' ' .. offset, 'PX', math.max(tonumber(ARGV[9]), left))
redis.call('DEL', KEYS[5])
redis.call('HSET', KEYS[5], 'e', entry, 's', ARGV[10], 'p', ARGV[4], 'a', ARGV[11], 'x', ARGV[12], 'mx', ARGV[14],
  'dl', ARGV[15], 'ck', ARGV[13])
redis.call('PEXPIRE', KEYS[5], left + tonumber(ARGV[17]))
if ARGV[13] ~= '' then
  redis.call('HSET', KEYS[7], ARGV[13], ARGV[2])
  redis.call('PEXPIRE', KEYS[7], math.max(redis.call('PTTL', KEYS[7]), left))
end
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[4], 'd', ARGV[6], 'e', epoch, 'o', offset, 't', ARGV[4])
  redis.call('PEXPIRE', KEYS[4], ARGV[7])
end
redis.call(ARGV[8], KEYS[3], epoch .. ' ' .. offset .. '\n' .. ARGV[1])
return {'ok', epoch, offset}
