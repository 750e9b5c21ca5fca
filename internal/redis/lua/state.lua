-- Writes the next revision of a state, and publishes the message that tells of it in the same step.
-- The script continues with that of publish, whose keys and arguments come first.
-- KEYS: 6 state hash
-- ARGV: 11 revision that the change was made from, 12 value, 13 lifetime in ms
-- Bounds: the state hash by expiry.
local at = redis.call('HGET', KEYS[6], 'r') or '0'
if at ~= ARGV[11] then
  return {'revision', at}
end
local out = publish()
if out[1] == 'ok' then
  redis.call('HSET', KEYS[6], 'v', ARGV[12], 'r', string.format('%.0f', tonumber(at) + 1), 't', ARGV[4])
  redis.call('PEXPIRE', KEYS[6], ARGV[13])
end
return out
