#!lua flags=allow-oom
-- Removes a channel and what it has kept, and announces it; the next use of its address makes a new epoch.
-- KEYS: 1 channel record, 2 stream, 3 meta hash, 4 pub/sub channel, 5 retained message,
--       6 era of the channel, 7 state
-- ARGV: 1 PUBLISH or SPUBLISH, 2 envelope of the announcement, 3 the next era, 4 for how many ms it is remembered
-- Bounds: by expiry.
if redis.call('DEL', KEYS[1]) == 0 then
  return 0
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[5], KEYS[7])
redis.call('SET', KEYS[6], ARGV[3], 'PX', ARGV[4])
redis.call(ARGV[1], KEYS[4], '\n' .. ARGV[2])
return 1
