#!lua flags=allow-oom
-- Notes other times for messages that have to be looked at again. What has left in the meantime stays away.
-- KEYS: 1 sorted set
-- ARGV: for each message its time in ms and its member
-- Bounds: adds nothing.
for i = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'XX', ARGV[i], ARGV[i + 1])
end
return 1
