-- Begins the scripts that remember idempotency keys of channels. era() is another after the channel was deleted;
-- holds(epoch, offset, era) says whether the answer that a key stands for is one of the channel and the log that are there.
-- KEYS: 1 stream, 2 meta hash, 7 era of the channel
-- Bounds: writes nothing.
local function era()
  return redis.call('GET', KEYS[7]) or ''
end

local function holds(epoch, offset, used)
  return used == era() and whole(offset or '') and (epoch == '' or reaches(epoch, offset))
end
