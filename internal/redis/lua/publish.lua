#!lua
-- Publishes one message in one step: idempotency, existence of the channel, the next
-- offset, the log, and the push.
-- KEYS: 1 stream, 2 meta hash, 3 pub/sub channel, 4 channel record, 5 idempotency hash, 6 retained message
-- ARGV: 1 envelope, 2 length of the log (0 for live), 3 age of the log in ms, 4 publish
--       time in ms, 5 proposed epoch, 6 "1" when the channel must exist, 7 digest or "",
--       8 window of the digest in ms, 9 PUBLISH or SPUBLISH, 10 lifetime of the meta hash in ms,
--       11 lifetime of the retained message in ms (0 leaves it), 12 second name or "": the channel on which 13, the
--       record, is sent right behind the push, 14 "1" when KEYS[6] is that name too, and keeps the record
-- Bounds: the stream by length and age, the meta hash, the idempotency hash and the retained message by expiry.
if ARGV[6] == '1' and redis.call('EXISTS', KEYS[4]) == 0 then
  return {'missing'}
end
if ARGV[7] ~= '' then
  local seen = redis.call('HMGET', KEYS[5], 'd', 'e', 'o', 't')
  if seen[1] then
    if seen[1] ~= ARGV[7] then
      return {'mismatch'}
    end
    -- A write, so that a WAIT after this one covers the first.
    redis.call('HSET', KEYS[5], 'd', seen[1])
    return {'again', seen[2], seen[3], seen[4]}
  end
end
local epoch, offset = '', '0'
local length, age = tonumber(ARGV[2]), tonumber(ARGV[3])
if length > 0 then
  epoch = current(ARGV[5])
  local n = redis.call('HINCRBY', KEYS[2], 'o', 1)
  offset = string.format('%.0f', n)
  redis.call('XADD', KEYS[1], 'MAXLEN', '=', length, offset .. '-' .. ARGV[4], 'm', ARGV[1])
  if n % 64 == 0 then
    local old = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 128)
    local cut = nil
    for _, entry in ipairs(old) do
      local o, ms = string.match(entry[1], '^(%d+)-(%d+)$')
      if tonumber(ARGV[4]) - tonumber(ms) <= age then
        break
      end
      cut = o
    end
    if cut then
      redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f', tonumber(cut) + 1))
    end
  end
  redis.call('PEXPIRE', KEYS[1], age)
  redis.call('PEXPIRE', KEYS[2], ARGV[10])
end
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[5], 'd', ARGV[7], 'e', epoch, 'o', offset, 't', ARGV[4])
  redis.call('PEXPIRE', KEYS[5], ARGV[8])
end
local push = epoch .. ' ' .. offset .. '\n' .. ARGV[1]
local second = ARGV[12] ~= ''
if ARGV[11] ~= '0' then
  redis.call('SET', KEYS[6], ARGV[14] == '1' and ARGV[13] or push, 'PX', ARGV[11])
end
redis.call(ARGV[9], KEYS[3], second and '!' .. push or push)
if second then
  redis.call('PUBLISH', ARGV[12], ARGV[13])
end
return {'ok', epoch, offset}
