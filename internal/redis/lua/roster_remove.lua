#!lua flags=allow-oom
-- Removes one member, or those whose grace is over, or those of a node, and announces the clients that have no other
-- connection.
-- KEYS: 1 members, 2 their order, 3 connections of each client, 4 lost members by the end of their grace, 5 pub/sub channel,
--       6 events that are not in their log yet
-- ARGV: 1 "one", "lost" or "node", 2 connection or node, 3 when the node was last heard of, in ms, 4 limit, 5 PUBLISH or
--       SPUBLISH, 6 beginning of the ids of events, 7 the rest of their envelopes but for the data, 8 prefix of the members
--       of nodes, 9 id of the event of the last member, or "" for no such events, 10 lifetime of the events in ms
-- Returns for "lost" in how many ms the next grace ends, -1 for none, and for "node" how many members it still has; then
-- the events that are not in their log yet, as JSON.
-- Bounds: the events by expiry and number.
local function field(tag, s)
  local n, size = #s, ''
  while n >= 128 do
    size = size .. string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  return string.char(tag) .. size .. string.char(n) .. s
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local list = {ARGV[2]}
local gone = nil
if ARGV[1] == 'lost' then
  list = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, ARGV[4])
elseif ARGV[1] == 'node' then
  list = redis.call('SRANDMEMBER', ARGV[8] .. ARGV[2], ARGV[4])
end
for i, connection in ipairs(list) do
  local value = redis.call('HGET', KEYS[1], connection)
  redis.call('HDEL', KEYS[1], connection)
  redis.call('ZREM', KEYS[2], connection)
  redis.call('ZREM', KEYS[4], connection)
  if ARGV[1] == 'node' then
    redis.call('SREM', ARGV[8] .. ARGV[2], connection)
  end
  local lost, json = string.match(value or '', '^(%d+) (.*)$')
  -- What is no member leaves as it is found: nobody was told of it.
  local read, member = pcall(cjson.decode, json or '')
  if read and type(member) == 'table' and type(member.Node) == 'string' and type(member.Client) == 'string' then
    redis.call('SREM', ARGV[8] .. member.Node, connection)
    local reason, at = 'left', string.format('%.0f', now)
    if ARGV[1] ~= 'one' and lost ~= '0' then
      reason, at = 'lost', lost
    elseif ARGV[1] == 'node' then
      reason, at = 'node_lost', ARGV[3]
    end
    if not gone or tonumber(at) >= tonumber(gone.at) then
      gone = {reason = reason, at = at}
    end
    if redis.call('HINCRBY', KEYS[3], member.Client, -1) <= 0 then
      redis.call('HDEL', KEYS[3], member.Client)
      local clients = redis.call('HLEN', KEYS[3]) - redis.call('HEXISTS', KEYS[3], '')
      local event = '{"kind":"left","reason":"' .. reason .. '","at":' .. at .. ',"clients":' .. clients .. ',"member":' .. json .. '}'
      redis.call(ARGV[5], KEYS[5], '\n' .. field(10, ARGV[6] .. i) .. ARGV[7] .. field(18, event))
    end
  end
end
local answer = {-1}
if ARGV[1] == 'node' then
  answer[1] = redis.call('SCARD', ARGV[8] .. ARGV[2])
else
  local next = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
  if next[1] then
    answer[1] = math.max(0, next[2] - now)
  end
end
if ARGV[9] == '' then
  return answer
end
if gone and redis.call('ZCARD', KEYS[2]) == 0 and redis.call('HDEL', KEYS[3], '') == 1 then
  local event = '{"id":"' .. ARGV[9] .. '","kind":"vacated","reason":"' .. gone.reason .. '","at":' .. gone.at .. '}'
  redis.call('RPUSH', KEYS[6], event)
  redis.call('LTRIM', KEYS[6], -256, -1)
  redis.call('PEXPIRE', KEYS[6], ARGV[10])
end
for _, event in ipairs(redis.call('LRANGE', KEYS[6], 0, -1)) do
  answer[#answer + 1] = event
end
return answer
