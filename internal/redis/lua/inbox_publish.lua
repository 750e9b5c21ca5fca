#!lua
-- Publishes one message that asks for an ack, in one step: idempotency, room in the inbox, the next offset, the
-- inbox entry, the record of the delivery, and the push.
-- KEYS: 1 stream, 2 meta hash, 3 pub/sub channel, 4 idempotency hash, 5 delivery hash, 6 collapse hash,
--       7 acknowledged by all
-- ARGV: 1 envelope, 2 message id, 3 most entries that wait, 4 proposed epoch, 5 digest or "", 6 window of the digest in ms,
--       7 PUBLISH or SPUBLISH, 8 lifetime of the meta hash in ms, 9 scope, 10 timeout in ms, 11 for how many ms it is kept,
--       12 collapse key or "", 13 most deliveries, 14 dead letter address or "", 15 prefix of the delivery hashes, 16 for how
--       many ms a delivery is remembered after its end, 17 how many replicas have to have it before it is shown, "f" for
--       the disk, "" to show it at once, 18 the client that sends it or ""
-- Returns "mismatch", "full", or "again" or "ok" with the epoch, the offset and the time of publishing in ms; with "again"
-- also the id of the first, and with "ok" "1" when it waits behind what is hidden.
-- Bounds: the stream by length and expiry, all other keys by expiry.
if ARGV[5] ~= '' then
  local seen = redis.call('HMGET', KEYS[4], 'd', 'e', 'o', 't', 'i')
  if seen[1] and reaches(seen[2], seen[3]) then
    if seen[1] ~= ARGV[5] then
      return {'mismatch'}
    end
    -- A write, so that a WAIT after this one covers the first.
    redis.call('HSET', KEYS[4], 'd', seen[1])
    return {'again', seen[2], seen[3], seen[4], seen[5]}
  end
end
local epoch = current(ARGV[4])
if not epoch then
  return unproved
end
local now = string.format('%.0f', now)
local limit, left = tonumber(ARGV[3]), math.max(tonumber(ARGV[11]), 1)

-- drop takes an entry out of the stream.
local function drop(entry)
  redis.pcall('XDEL', KEYS[1], entry) -- which refuses what is no id of an entry
  redis.call('ZREM', KEYS[7], entry)
end

-- finish takes out the entry of a message, and notes why unless it has ended before.
local function finish(id, entry, why)
  drop(entry)
  local d = redis.call('HMGET', ARGV[15] .. id, 'e', 'en')
  if d[1] and not d[2] then
    redis.call('HSET', ARGV[15] .. id, 'r', why, 'en', now)
    redis.call('PEXPIRE', ARGV[15] .. id, ARGV[16])
  end
end

-- A message that is there is itself again: a second entry would have no record of its own.
local old = redis.call('HMGET', KEYS[5], 'e', 'en', 'x')
local there = string.match(old[1] or '', '^%d+%-%d+$') and redis.call('XRANGE', KEYS[1], old[1], old[1])[1]
if there and not old[2] and tonumber(old[3]) > tonumber(now) then
  redis.call('HSET', KEYS[5], 'e', old[1])
  local offset, at = string.match(old[1], '^(%d+)%-(%d+)$')
  return {'again', born(epoch, redis.call('HGET', KEYS[2], 'p'), tonumber(offset)), offset, at}
elseif there then
  drop(old[1])
end

-- What a hidden message takes the place of goes when that is shown (show.lua).
local visible = redis.call('HGET', KEYS[2], 'v')
local hidden = visible or ARGV[17] ~= ''
if ARGV[12] ~= '' and not hidden then
  local id = redis.call('HGET', KEYS[6], ARGV[12])
  local d = id and redis.call('HMGET', ARGV[15] .. id, 'e', 'x')
  if d and d[1] and tonumber(d[2]) > tonumber(now) then -- otherwise its time has ended it
    finish(id, d[1], 'collapsed')
  end
end

-- What everybody acknowledged leaves with its end, or when as many are kept as may wait.
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', now, 'LIMIT', 0, 16)) do
  drop(entry)
end
local acked = redis.call('ZCARD', KEYS[7])
if acked >= limit then
  for _, entry in ipairs(redis.call('ZRANGE', KEYS[7], 0, math.min(acked - limit, 15))) do
    drop(entry)
    acked = acked - 1
  end
end
if redis.call('XLEN', KEYS[1]) - acked >= limit then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 64)) do
    local id = id_of(entry[2][2])
    local d = redis.call('HMGET', ARGV[15] .. id, 'x', 'en')
    if not d[2] and tonumber(d[1] or '0') <= tonumber(now) then
      finish(id, entry[1], 'ttl')
    end
  end
  if redis.call('XLEN', KEYS[1]) - acked >= limit then
    return {'full'}
  end
end

local offset = string.format('%.0f', redis.call('HINCRBY', KEYS[2], 'o', 1))
local entry = offset .. '-' .. now
local life = math.max(tonumber(ARGV[8]), left)
local push = epoch .. ' ' .. offset .. ' ' .. now .. '\n'
local fields = {'m', ARGV[1]}
if hidden then
  -- Everything that show.lua needs later.
  for _, value in ipairs({'h', push, 'q', KEYS[5]}) do
    fields[#fields + 1] = value
  end
  if ARGV[17] ~= '' then
    fields[#fields + 1], fields[#fields + 2] = 'd', ARGV[17]
  end
  if ARGV[5] ~= '' then
    fields[#fields + 1], fields[#fields + 2] = 'k', KEYS[4]
  end
  if ARGV[12] ~= '' then
    for _, value in ipairs({'c', ARGV[12], 'ch', KEYS[6], 'ca', KEYS[7], 'cp', ARGV[15], 'cr', ARGV[16], 'cx', string.format('%.0f', left)}) do
      fields[#fields + 1] = value
    end
  end
  if not visible then
    redis.call('HSET', KEYS[2], 'v', string.format('%.0f', offset - 1))
  end
end
redis.call('XADD', KEYS[1], entry, unpack(fields))
if redis.call('XLEN', KEYS[1]) == 1 and not hidden then
  tight(#ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), left))
redis.call('PEXPIRE', KEYS[2], life)
redis.call('DEL', KEYS[5])
-- What most messages have not, has no field: there is such a hash for every message that waits.
local record = {'e', entry, 's', ARGV[9], 'a', string.format('%.0f', now + ARGV[10]), 'x', string.format('%.0f', now + ARGV[11])}
for name, value in pairs({mx = ARGV[13], dl = ARGV[14], ck = ARGV[12], f = ARGV[18]}) do
  if value ~= '' and (value ~= '0' or name ~= 'mx') then
    record[#record + 1], record[#record + 2] = name, value
  end
end
redis.call('HSET', KEYS[5], unpack(record))
redis.call('PEXPIRE', KEYS[5], left + tonumber(ARGV[16]))
if ARGV[12] ~= '' and not hidden then
  redis.call('HSET', KEYS[6], ARGV[12], ARGV[2])
  redis.call('PEXPIRE', KEYS[6], math.max(redis.call('PTTL', KEYS[6]), left))
end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[4], 'd', ARGV[5], 'e', epoch, 'o', offset, 't', now, 'i', ARGV[2])
  redis.call('PEXPIRE', KEYS[4], ARGV[6])
end
if hidden then
  if ARGV[17] == '' then
    redis.call(ARGV[7], KEYS[3], '?') -- whoever follows sees to it that it is shown, should its publisher die
  end
  return {'ok', epoch, offset, now, ARGV[17] == '' and '1' or ''}
end
redis.call(ARGV[7], KEYS[3], push .. ARGV[1])
return {'ok', epoch, offset, now}
