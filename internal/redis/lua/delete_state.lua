#!lua flags=allow-oom
-- Removes a state.
-- KEYS: 1 state hash, 2 channel record
-- ARGV: 1 "1" when the channel must exist
if ARGV[1] == '1' and not created(KEYS[2]) then
  return {'missing'}
end
redis.call('DEL', KEYS[1])
return {'ok'}
