#!lua
-- Publishes one message in one step: idempotency, existence of the channel, the next
-- offset, the log, and the push. Its time is that of this server.
-- KEYS: 1 stream, 2 meta hash, 3 pub/sub channel, 4 channel record, 5 idempotency hash, 6 retained message,
--       7 era of the channel
-- ARGV: 1 envelope, 2 length of the log (0 for live), 3 age of the log in ms, 4 proposed epoch, 5 "1" when the
--       channel must exist, 6 digest or "", 7 window of the digest in ms, 8 PUBLISH or SPUBLISH, 9 lifetime of the
--       meta hash in ms, 10 lifetime of the retained message in ms (0 leaves it), 11 second name or "": the channel on
--       which 12, the record, is sent right behind the push, 13 "1" when KEYS[6] is that name too, and keeps the record,
--       14 message id, 15 how many replicas have to have it before it is shown, "f" for the disk, "" to show it at once
-- Returns "ok", epoch, offset, time in ms and "1" when it waits behind what is hidden; "again", those of the first and its
-- id; "missing" or "mismatch".
-- Bounds: the stream by length and age, the meta hash, the idempotency hash and the retained message by expiry. What is
-- too much or too old is removed in steps.
if ARGV[5] == '1' and redis.call('EXISTS', KEYS[4]) == 0 then
  return {'missing'}
end
if ARGV[6] ~= '' then
  local seen = redis.call('HMGET', KEYS[5], 'd', 'e', 'o', 't', 'i', 'g')
  if seen[1] and holds(seen[2], seen[3], seen[6]) then
    if seen[1] ~= ARGV[6] then
      return {'mismatch'}
    end
    -- A write, so that a WAIT after this one covers the first.
    redis.call('HSET', KEYS[5], 'd', seen[1])
    return {'again', seen[2], seen[3], seen[4], seen[5]}
  end
end
local step = 2048
local epoch, offset, time = '', '0', now
local hidden = false
local length, age = tonumber(ARGV[2]), tonumber(ARGV[3])
if length > 0 then
  local top, last
  epoch, top, last = current(ARGV[4])
  if not epoch then
    return unproved
  end
  -- Times never fall within a log, also when another server takes over whose clock is behind.
  time = math.max(now, last)
  offset = string.format('%.0f', top + 1)
  local ms = string.format('%.0f', time)
  redis.call('HSET', KEYS[2], 'o', offset, 't', ms)
  local visible = redis.call('HGET', KEYS[2], 'v')
  hidden = visible or ARGV[15] ~= ''
  local entry = {'m', ARGV[1]}
  if hidden then
    -- Everything that show.lua needs later.
    entry = {'m', ARGV[1], 'h', epoch .. ' ' .. offset .. ' ' .. ms .. '\n'}
    local function add(name, value)
      entry[#entry + 1], entry[#entry + 2] = name, value
    end
    if ARGV[15] ~= '' then
      add('d', ARGV[15])
    end
    if ARGV[6] ~= '' then
      add('k', KEYS[5])
    end
    if ARGV[10] ~= '0' then
      add('l', ARGV[10])
      add('n', KEYS[6])
    end
    if ARGV[11] ~= '' then
      add('s', ARGV[11])
      add('b', ARGV[12])
    end
    if ARGV[13] == '1' then
      add('r', '1')
    end
    if ARGV[16] and ARGV[15] ~= '' then -- the state that it tells of, which is written when it is shown
      add('sk', KEYS[8])
      add('sr', string.format('%.0f', tonumber(ARGV[16]) + 1))
      add('sv', ARGV[17])
      add('sx', ARGV[18])
    end
    if not visible then
      redis.call('HSET', KEYS[2], 'v', string.format('%.0f', top))
    end
  end
  local most = math.max(length, redis.call('XLEN', KEYS[1]) + 1 - step)
  redis.call('XADD', KEYS[1], 'MAXLEN', '=', most, offset .. '-' .. ms, unpack(entry))
  if (top + 1) % 64 == 0 then
    local first, oldest = young(top + 1, time - age)
    if first > oldest then
      redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f', math.min(first, oldest + step)))
    end
  end
  redis.call('PEXPIRE', KEYS[1], age)
  redis.call('PEXPIRE', KEYS[2], ARGV[9])
end
time = string.format('%.0f', time)
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[5], 'd', ARGV[6], 'e', epoch, 'o', offset, 't', time, 'i', ARGV[14], 'g', era())
  redis.call('PEXPIRE', KEYS[5], ARGV[7])
end
if hidden then
  if ARGV[15] == '' then
    redis.call(ARGV[8], KEYS[3], '?') -- whoever follows sees to it that it is shown, should its publisher die
  end
  return {'ok', epoch, offset, time, ARGV[15] == '' and '1' or ''}
end
local push = epoch .. ' ' .. offset .. ' ' .. time .. '\n' .. ARGV[1]
local second = ARGV[11] ~= ''
if ARGV[10] ~= '0' then
  redis.call('SET', KEYS[6], ARGV[13] == '1' and ARGV[12] or push, 'PX', ARGV[10])
end
redis.call(ARGV[8], KEYS[3], second and '!' .. push or push)
if second then
  redis.call('PUBLISH', ARGV[11], ARGV[12])
end
return {'ok', epoch, offset, time}
