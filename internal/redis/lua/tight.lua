-- Begins the scripts that begin logs. tight(bytes) gives back what Redis reserves for a new stream: 4 kB, whatever its first entry
-- has, which took bytes. A stream that is read back from its dump has just what it needs, and grows like any other. Where a user
-- of Redis may use neither DUMP nor RESTORE, the stream stays as it is. It is the same stream, so replicas and files follow.
-- KEYS: 1 stream
-- Bounds: the caller sets the expiry of the stream afterwards; a dump has no more than 2 kB.
local function tight(bytes)
  if bytes > 2048 then
    return
  end
  local dump = redis.pcall('DUMP', KEYS[1])
  if type(dump) == 'string' then
    redis.pcall('RESTORE', KEYS[1], 0, dump, 'REPLACE')
  end
end
