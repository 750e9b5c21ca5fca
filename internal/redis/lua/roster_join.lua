#!lua
-- Adds a member, and announces a client that was not there.
-- KEYS: 1 members, 2 their order, 3 connections of each client, 4 lost members by the end of their grace, 5 members of
--       the node, 6 pub/sub channel, 7 events that are not in their log yet
-- ARGV: 1 connection, 2 client, 3 member as JSON, 4 lifetime in ms, 5 PUBLISH or SPUBLISH, 6 id of an event, 7 the
--       rest of its envelope but for the data, 8 when it joined, in ms, 9 id of the event of the first member, or "" for
--       no such events, 10 "1" for a member of which no event tells
-- The field "" of the connections of each client says that the address was told as occupied: no client has that name.
-- Returns the events that are not in their log yet, as JSON.
-- Bounds: all keys by expiry; the events by number too.
local function field(tag, s)
  local n, size = #s, ''
  while n >= 128 do
    size = size .. string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  return string.char(tag) .. size .. string.char(n) .. s
end
local first = ARGV[9] ~= '' and ARGV[10] ~= '1' and redis.call('HEXISTS', KEYS[3], '') == 0
local known = redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1
redis.call('HSET', KEYS[1], ARGV[1], '0 ' .. ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('SADD', KEYS[5], ARGV[1])
if known then
  redis.call('ZREM', KEYS[4], ARGV[1])
elseif redis.call('HINCRBY', KEYS[3], ARGV[2], 1) == 1 then
  local clients = redis.call('HLEN', KEYS[3]) - redis.call('HEXISTS', KEYS[3], '')
  local event = '{"kind":"joined","at":' .. ARGV[8] .. ',"clients":' .. clients .. ',"member":' .. ARGV[3] .. '}'
  redis.call(ARGV[5], KEYS[6], '\n' .. field(10, ARGV[6]) .. ARGV[7] .. field(18, event))
end
if first then
  redis.call('HSET', KEYS[3], '', 1)
end
for i = 1, 5 do
  redis.call('PEXPIRE', KEYS[i], ARGV[4])
end
if ARGV[9] == '' then
  return {}
end
if first then
  redis.call('RPUSH', KEYS[7], '{"id":"' .. ARGV[9] .. '","kind":"occupied","at":' .. ARGV[8] .. '}')
  redis.call('LTRIM', KEYS[7], -256, -1)
  redis.call('PEXPIRE', KEYS[7], ARGV[4])
end
return redis.call('LRANGE', KEYS[7], 0, -1)
