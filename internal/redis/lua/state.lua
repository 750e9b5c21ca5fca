#!lua
-- Writes the next revision of a state, and publishes the message that tells of it in the same step.
-- The script continues with that of publish, whose keys and arguments come first.
-- KEYS: 8 state hash
-- ARGV: 15 revision that the change was made from, 16 value, 17 lifetime in ms
-- Bounds: the state hash by expiry.
local at = redis.call('HGET', KEYS[8], 'r') or '0'
if at ~= ARGV[15] then
  return {'revision', at}
end
local out = publish()
if out[1] == 'ok' then
  redis.call('HSET', KEYS[8], 'v', ARGV[16], 'r', string.format('%.0f', tonumber(at) + 1), 't', out[4])
  redis.call('PEXPIRE', KEYS[8], ARGV[17])
end
return out
