#!lua flags=allow-oom
-- Takes the connections of a dead process away from it, and returns some of them: ids and JSON by turns. A process that
-- lives after all finds that they are gone.
-- KEYS: 1 hash of its connections, 2 the same, taken away
-- ARGV: 1 limit
-- Bounds: an expiry stays with its key.
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[2])
end
return redis.call('HRANDFIELD', KEYS[2], ARGV[1], 'WITHVALUES')
