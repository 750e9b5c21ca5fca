#!lua
-- Writes the next revision of a state, and publishes the message that tells of it in the same step.
-- The script continues with that of publish, whose keys and arguments come first. A repeat of a change is asked about
-- before its revision: the change itself has raised that.
-- KEYS: 8 state hash
-- ARGV: 16 revision that the change was made from, 17 value, 18 lifetime in ms; of publish 6 digest, 15 replicas or ""
-- Bounds: the state hash by expiry; the first answer is kept with its idempotency key, and as long.
local digest, demand, revision, value, ttl = ARGV[6], ARGV[15], ARGV[16], ARGV[17], ARGV[18]
if digest ~= '' then
  local seen = redis.call('HMGET', KEYS[5], 'd', 'sr', 'sv', 'st', 'e', 'o', 'g')
  if seen[1] and holds(seen[5], seen[6], seen[7]) then
    if seen[1] ~= digest or not seen[2] then
      return {'mismatch'}
    end
    -- A write, so that a WAIT after this one covers the first.
    redis.call('HSET', KEYS[5], 'd', seen[1])
    return {'state', seen[2], seen[3], seen[4], seen[5], seen[6]}
  end
end
local state = redis.call('HMGET', KEYS[8], 'r', 'w')
local waits = state[2] and redis.call('HEXISTS', KEYS[2], 'v') == 1 -- a change is hidden, and w is its revision
local at = waits and state[2] or state[1] or '0'
if not string.match(at, '^%d+$') or #at > 15 then
  at = '0' -- not ours: it reads as a state that is empty, and is written anew
end
if at ~= revision then
  return {'revision', at, waits and '1' or ''}
end
local out = publish()
if out[1] == 'ok' then
  local next = string.format('%.0f', tonumber(at) + 1)
  if demand ~= '' and out[2] ~= '' then -- nobody reads it before it is as durable as it asks to be
    redis.call('HSET', KEYS[8], 'w', next)
  else
    redis.call('HSET', KEYS[8], 'v', value, 'r', next, 't', out[4])
  end
  redis.call('PEXPIRE', KEYS[8], ttl)
  if digest ~= '' then
    redis.call('HSET', KEYS[5], 'sr', next, 'sv', value, 'st', out[4])
  end
end
return out
