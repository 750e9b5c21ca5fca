#!lua
-- Publishes one message in one step: idempotency, existence of the channel, the next
-- offset, the log, the push and its copy. Its time is that of this server.
-- KEYS: 1 stream, 2 meta hash, 3 pub/sub channel, 4 channel record, 5 idempotency hash, 6 retained message,
--       7 era of the channel
-- ARGV, in the order of the names below: the envelope; the length of the log (0 for live) and its age in ms; the proposed
--       epoch; "1" when the channel must exist; a digest or "", and its window in ms; PUBLISH or SPUBLISH; the lifetime of
--       the meta hash in ms, and of the retained message (0 leaves it); a second channel or "", and the copy that is sent
--       there right behind the push; "1" when KEYS[6] keeps the copy; the message id; how many replicas have to have it
--       before it is shown, "f" for the disk, "" to show it at once; of state.lua the revision, the value and its lifetime
-- Returns "ok", epoch, offset, time in ms and "1" when it waits behind what is hidden; "again", those of the first and its
-- id; "missing" or "mismatch".
-- Bounds: the stream by length and age, the meta hash, the idempotency hash and the retained message by expiry. What is
-- too much or too old is removed in steps.
local envelope, length, age, proposed, must_exist, digest, window, verb, meta_ttl, retain, copy_channel, copy, keeps_copy,
  id, demand, state_revision, state_value, state_ttl = unpack(ARGV)
if must_exist == '1' and not created(KEYS[4]) then
  return {'missing'}
end
if digest ~= '' then
  local seen = redis.call('HMGET', KEYS[5], 'd', 'e', 'o', 't', 'i', 'g')
  if seen[1] and holds(seen[2], seen[3], seen[6]) then
    if seen[1] ~= digest then
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
length, age = tonumber(length), tonumber(age)
if length > 0 then
  local top, last
  epoch, top, last = current(proposed)
  if not epoch then
    return unproved
  end
  -- Times never fall within a log, also when another server takes over whose clock is behind.
  time = math.max(now, last)
  offset = string.format('%.0f', top + 1)
  local ms = string.format('%.0f', time)
  redis.call('HSET', KEYS[2], 'o', offset, 't', ms)
  local visible = redis.call('HGET', KEYS[2], 'v')
  hidden = visible or demand ~= ''
  local entry = {'m', envelope}
  if hidden then
    -- Everything that show.lua needs later.
    entry = {'m', envelope, 'h', epoch .. ' ' .. offset .. ' ' .. ms .. '\n'}
    local function add(name, value)
      entry[#entry + 1], entry[#entry + 2] = name, value
    end
    if demand ~= '' then
      add('d', demand)
    end
    if digest ~= '' then
      add('k', KEYS[5])
    end
    if retain ~= '0' then
      add('l', retain)
      add('n', KEYS[6])
    end
    if copy_channel ~= '' then
      add('s', copy_channel)
      add('b', copy)
    end
    if keeps_copy == '1' then
      add('r', '1')
    end
    if state_revision and demand ~= '' then -- the state that it tells of, which is written when it is shown
      add('sk', KEYS[8])
      add('sr', string.format('%.0f', tonumber(state_revision) + 1))
      add('sv', state_value)
      add('sx', state_ttl)
    end
    if not visible then
      redis.call('HSET', KEYS[2], 'v', string.format('%.0f', top))
    end
  end
  local kept = redis.call('XLEN', KEYS[1])
  local most = math.max(length, kept + 1 - step)
  redis.call('XADD', KEYS[1], 'MAXLEN', '=', most, offset .. '-' .. ms, unpack(entry))
  if kept == 0 and not hidden then
    tight(#envelope)
  end
  if (top + 1) % 64 == 0 then
    local first, oldest = young(top + 1, time - age)
    if first > oldest then
      redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f', math.min(first, oldest + step)))
    end
  end
  redis.call('PEXPIRE', KEYS[1], age)
  redis.call('PEXPIRE', KEYS[2], meta_ttl)
end
time = string.format('%.0f', time)
if digest ~= '' then
  redis.call('HSET', KEYS[5], 'd', digest, 'e', epoch, 'o', offset, 't', time, 'i', id, 'g', era())
  redis.call('PEXPIRE', KEYS[5], window)
end
if hidden then
  if demand == '' then
    redis.call(verb, KEYS[3], '?') -- whoever follows sees to it that it is shown, should its publisher die
  end
  return {'ok', epoch, offset, time, demand == '' and '1' or ''}
end
local push = epoch .. ' ' .. offset .. ' ' .. time .. '\n' .. envelope
local copied = copy_channel ~= ''
if retain ~= '0' then
  redis.call('SET', KEYS[6], keeps_copy == '1' and copy or push, 'PX', retain)
end
redis.call(verb, KEYS[3], copied and '!' .. push or push)
if copied then
  redis.call('PUBLISH', copy_channel, copy)
end
return {'ok', epoch, offset, time}
