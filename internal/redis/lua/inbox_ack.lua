#!lua flags=allow-oom
-- Acknowledges messages of one inbox for one device.
-- KEYS: 1 stream, 2 pub/sub channel, 3 collapse hash, 4 acknowledged by all
-- ARGV: 1 device, 2 PUBLISH or SPUBLISH, 3 prefix of the delivery hashes, 4 for how many ms a delivery is remembered after
--       its end, 5 most devices that are told apart, then for each message its id, the envelope of its dismissal and that of
--       the hint to who watches it
-- Returns for each message 0 when it is not known, 1 while it waits, or 2 when it has ended.
-- Bounds: what is acknowledged by all is of the stream, and has its expiry.
local now = clock()
local out = {}

-- ends says whether an ack ends the message d, of whose devices given were given it and acked have acknowledged it.
local function ends(d, given, acked)
  return d[2] == '1' or not d[3] and acked >= given
end

-- finish notes the end of a message.
local function finish(id, key, d)
  redis.call('HSET', key, 'en', now)
  if d[2] == '2' then -- kept for devices that come later
    local left = math.max(d[9] - now, 1)
    redis.call('ZADD', KEYS[4], d[9], d[1])
    redis.call('PEXPIRE', KEYS[4], math.max(redis.call('PTTL', KEYS[4]), left))
    return
  end
  redis.pcall('XDEL', KEYS[1], d[1])
  redis.call('PEXPIRE', key, ARGV[4])
  if d[6] and redis.call('HGET', KEYS[3], d[6]) == id then
    redis.call('HDEL', KEYS[3], d[6])
  end
end

-- note notes an ack and returns whether it ended the message.
local function note(key, d, v)
  local given, acked = tonumber(d[7] or '0'), tonumber(d[8] or '0')
  if v and v.denied ~= '0' then -- it had been given it before
    redis.call('HINCRBY', key, 'dn', -1)
  end
  local apart = v or given < tonumber(ARGV[5])
  if not v and apart then
    given = redis.call('HINCRBY', key, 'n', 1)
  end
  if apart or d[2] == '1' then
    acked = redis.call('HINCRBY', key, 'k', 1)
  end
  if apart then
    v = v or {sent = now, times = '0'}
    redis.call('HSET', key, 'c:' .. ARGV[1], field({sent = v.sent, acked = now, times = v.times, denied = '0', why = ''}))
  end
  return ends(d, given, acked)
end

for i = 6, #ARGV, 3 do
  local key = ARGV[3] .. ARGV[i]
  local d = redis.call('HMGET', key, 'e', 's', 'en', 'c:' .. ARGV[1], 'w', 'ck', 'n', 'k', 'x', 'r')
  local v = known(d[4])
  if not d[1] then
    out[#out + 1] = 0
  else
    local over = d[10] or d[3] and d[2] == '1' or tonumber(d[9]) <= tonumber(now)
    local said = v and (v.acked ~= '0' or v.sent == '0')
    if not over and not said then
      if note(key, d, v) then
        finish(ARGV[i], key, d)
        d[3] = now
        if d[2] == '1' then
          redis.call(ARGV[2], KEYS[2], ' 0\n' .. ARGV[i + 1])
        end
      end
      if d[5] then
        redis.call(ARGV[2], KEYS[2], ' 0\n' .. ARGV[i + 2])
      end
    end
    out[#out + 1] = d[3] and 2 or 1
  end
end
return out
