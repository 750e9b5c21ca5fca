#!lua
-- Writes the next revision of a state, and publishes the message that tells of it in the same step.
-- The script continues with that of publish, whose keys and arguments come first.
-- KEYS: 7 state hash
-- ARGV: 14 revision that the change was made from, 15 value, 16 lifetime in ms
-- Bounds: the state hash by expiry.
local at = redis.call('HGET', KEYS[7], 'r') or '0'
if at ~= ARGV[14] then
  return {'revision', at}
end
local out = publish()
if out[1] == 'ok' then
  redis.call('HSET', KEYS[7], 'v', ARGV[15], 'r', string.format('%.0f', tonumber(at) + 1), 't', out[4])
  redis.call('PEXPIRE', KEYS[7], ARGV[16])
end
return out
