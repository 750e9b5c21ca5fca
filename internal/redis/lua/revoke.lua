#!lua flags=allow-oom
-- Revokes: remembers since when a subject's tokens are refused, where a later time and a later end win, and tells the
-- followers of the log of revocations in the same step. A server that is full does it too: what keeps somebody out must not
-- wait for memory.
-- KEYS: 1 stream, 2 meta hash, 3 pub/sub channel, 4 time of the subject, 5 epoch in which the time of the subject "lost" was
--       set, 6 hash of the ends that were noted as lost, by epoch
-- ARGV: 1 "revoke"; "lost": revoke when the log does not have a position any more; "since": set the time unless there is one,
--       2 time in ms, 0 for now, 3 lifetime in ms, 4 proposed epoch, 5 PUBLISH or SPUBLISH, 6 and 7 the envelope before and
--       behind the time, 8 length of the log, 9 and 10 epoch and offset of the position
-- Returns the time, 0 when nothing was lost.
-- Bounds: the stream by length and expiry, the hash and the time by expiry; the meta hash, the time of "lost" and its epoch stay.

-- has says whether the log has the position; nil when it knows nothing of its epoch.
local function has(epoch, seen, offset)
  local meta = redis.call('HMGET', KEYS[2], 'o', 'p')
  if seen == epoch then
    return tonumber(meta[1] or '0') >= offset
  end
  for past, o in string.gmatch(brief(meta[2]), '(%S+):(%d+)') do
    if past == seen then
      return tonumber(o) >= offset
    end
  end
  return nil
end

-- lost says whether a position is lost, and whether nobody has noted that yet.
local function lost(epoch, seen, offset)
  local kept = has(epoch, seen, offset)
  if kept or offset == 0 then
    return false
  end
  -- The time was set after the data of that epoch had gone as a whole.
  if kept == nil and redis.call('GET', KEYS[5]) == epoch then
    return false
  end
  return tonumber(redis.call('HGET', KEYS[6], seen) or '-1') < offset
end

-- moment says whether a text is a time as this script writes it.
local function moment(text)
  local n = text and whole(text)
  return n and n >= 1000000000000 and n <= 253402300799999 and string.format('%.0f', n) == text
end

-- kept returns the time that the subject has by now, 0 for none. Anything else that stands there may have been one: it counts as
-- now, and is written over. What keeps somebody out must not fail for it.
local function kept()
  local text = redis.pcall('GET', KEYS[4])
  if not text then
    return 0
  end
  return type(text) == 'string' and moment(text) and tonumber(text) or now
end

local epoch, top, last = current(ARGV[4])
if not epoch then
  return unproved
end
-- Were the epoch forgotten while nobody is revoked, every follower would take that for a loss.
redis.call('PERSIST', KEYS[2])
if ARGV[1] == 'since' then
  -- What is no time says nothing about what came before now.
  if not moment(redis.call('GET', KEYS[4])) then
    redis.call('SET', KEYS[4], string.format('%.0f', now))
    redis.call('SET', KEYS[5], epoch)
  end
  return redis.call('GET', KEYS[4])
end
if ARGV[1] == 'lost' then
  local offset = tonumber(ARGV[10])
  if not lost(epoch, ARGV[9], offset) then
    return '0'
  end
  redis.call('HSET', KEYS[6], ARGV[9], ARGV[10])
  -- A log that lost its end and kept its epoch may come to that offset again, and lose it again.
  redis.call('PEXPIRE', KEYS[6], ARGV[9] == epoch and 60000 or ARGV[3])
  redis.call('SET', KEYS[5], epoch)
end
-- Whoever signs in right behind a revocation counts as signed in a moment later, which may still be to come. The next revocation
-- is later than that, of whatever subject: so times rise with each one, as far as a second ahead.
local ahead = now + 1000
local at = math.max(tonumber(ARGV[2]), 1000000000000)
if ARGV[2] == '0' then
  at = math.max(now, math.min(last + 1, ahead))
end
local rise = math.min(at, ahead)
at = string.format('%.0f', math.max(at, kept()))
if ARGV[1] == 'lost' then
  redis.call('SET', KEYS[4], at)
else
  redis.call('SET', KEYS[4], at, 'PX', math.max(tonumber(ARGV[3]), redis.call('PTTL', KEYS[4])))
end
local envelope = ARGV[6] .. at .. ARGV[7]
local offset = string.format('%.0f', top + 1)
local time = string.format('%.0f', math.max(now, last, rise))
redis.call('HSET', KEYS[2], 'o', offset, 't', time)
redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[8], offset .. '-' .. time, 'm', envelope)
redis.call('PEXPIRE', KEYS[1], math.max(tonumber(ARGV[3]), redis.call('PTTL', KEYS[1])))
redis.call(ARGV[5], KEYS[3], epoch .. ' ' .. offset .. ' ' .. time .. '\n' .. envelope)
return at
