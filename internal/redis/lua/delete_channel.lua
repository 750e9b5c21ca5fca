-- Removes a channel and what it has kept; the next use of its address makes a new epoch.
-- KEYS: 1 channel record, 2 stream, 3 meta hash
if redis.call('DEL', KEYS[1]) == 0 then
  return 0
end
redis.call('DEL', KEYS[2], KEYS[3])
return 1
