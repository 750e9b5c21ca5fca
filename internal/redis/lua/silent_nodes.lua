#!lua flags=no-writes
-- Returns nodes that were not heard of lately, each with the time in ms at which it was. Of the nodes that are named,
-- also those that are not known, with 0. None when nobody was heard of lately: then the store was away, and not they.
-- KEYS: 1 sorted set of nodes by the time they were heard of, 2 until when nobody is taken for dead
-- ARGV: 1 how long a node counts as alive, in ms, 2 limit, then names; none for all nodes
-- Bounds: makes no key.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- A time that is still to come is not ours.
local newest = redis.call('ZRANGE', KEYS[1], now + 60000, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2]
local truce = tonumber(redis.call('GET', KEYS[2]) or '0')
if truce > now and truce < now + 86400000 or newest and tonumber(newest) < now - ARGV[1] then
  return {}
end
if #ARGV == 2 then
  return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[1]), 'WITHSCORES', 'LIMIT', 0, ARGV[2])
end
local silent = {}
for i = 3, #ARGV do
  local heard = redis.call('ZSCORE', KEYS[1], ARGV[i]) or '0'
  if tonumber(heard) < now - ARGV[1] then
    silent[#silent + 1] = ARGV[i]
    silent[#silent + 1] = heard
  end
end
return silent
