-- Begins every script that appends. current(proposed) returns the epoch under which the next entry goes, which is that of the
-- meta hash, or the proposed one where there is none yet; then the newest offset, and its time in ms. It returns nil, and the
-- script has to answer with unproved, where the log was written in another life of the server: prove_life.lua comes first then.
-- KEYS: 1 stream, 2 meta hash
-- Bounds: the caller sets the expiry of the meta hash.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

-- reaches(epoch, offset) says whether the log has come to a position under that epoch, and has kept its end since.
local function reaches(epoch, offset)
  if not whole(offset or '') then
    return false -- not ours
  end
  local meta = redis.call('HMGET', KEYS[2], 'e', 'o', 'p')
  if meta[1] == epoch then
    return tonumber(offset) <= tonumber(meta[2] or '0')
  end
  for past, o in string.gmatch(brief(meta[3]), '(%S+):(%d+)') do
    if past == epoch then
      return tonumber(offset) <= tonumber(o)
    end
  end
  return false
end

-- same(life) says whether the server is surely still in that life: subscriptions to the channel that is named for it do not
-- outlive it. That costs a tenth of an INFO.
local function same(life)
  if not life or life == '' then
    return false
  end
  local heard = redis.pcall('PUBSUB', 'NUMSUB', string.match(KEYS[2], '^[^{]*') .. 'life:' .. life)
  return type(heard) == 'table' and (tonumber(heard[2]) or 0) > 0
end

local unproved = nil
local function current(proposed)
  local meta = redis.call('HMGET', KEYS[2], 'e', 'r', 'o', 'p', 't')
  local life = meta[2]
  if not meta[1] or not same(life) then
    -- The replication id is another after every failover and restart. Empty where INFO is not permitted.
    local info = redis.pcall('INFO', 'replication')
    life = type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or ''
  end
  local time = tonumber(meta[5] or '0')
  if not meta[1] then
    -- A stream without its meta hash belongs to a life that nobody can resume.
    redis.call('UNLINK', KEYS[1])
    redis.call('HSET', KEYS[2], 'e', proposed, 'r', life)
    return proposed, 0, 0
  end
  local top, garbled = offset_of(meta[3], KEYS[1])
  if garbled then
    -- Nobody knows how far the log went. It keeps its entries, and what follows has an epoch in which nobody can resume.
    redis.call('HSET', KEYS[2], 'e', proposed, 'r', life, 'o', string.format('%.0f', top))
    redis.call('HDEL', KEYS[2], 'p', 'w')
    return proposed, top, time
  end
  if life == '' or life == meta[2] then
    return meta[1], top, time
  end
  -- Its former master may have had more. Whether that is so cannot be found out in here.
  unproved = {'prove', meta[2] or '', life, string.format('%.0f', time), meta[1], string.format('%.0f', top)}
  return nil
end
