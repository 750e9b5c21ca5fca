-- Reads a part of a log, after dropping what is too old. A server that refuses writes is read all the same.
-- KEYS: 1 stream, 2 meta hash
-- ARGV: 1 "since" or "latest", 2 epoch of the position or "", 3 offset (since: after it; latest: before it, 0 for
--       the newest), 4 limit, 5 age in ms, 6 now in ms, 7 proposed epoch, 8 lifetime of the meta hash in ms
-- Returns gap, epoch, top, then entries of the stream: one more than limit when there are more.
-- Bounds: the meta hash by expiry.
local meta = redis.call('HMGET', KEYS[2], 'e', 'o', 'p')
local epoch, top = meta[1], tonumber(meta[2] or '0')
if not epoch then
  redis.call('DEL', KEYS[1])
  epoch = ARGV[7]
  local info = redis.pcall('INFO', 'replication')
  redis.call('HSET', KEYS[2], 'e', epoch, 'r', type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or '')
end
redis.pcall('PEXPIRE', KEYS[2], ARGV[8])
local first = top + 1
local old = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
while #old > 0 do
  local last = old[#old][1]
  local o, ms = string.match(last, '^(%d+)-(%d+)$')
  if tonumber(ARGV[6]) - tonumber(ms) <= tonumber(ARGV[5]) then
    -- The last one of the chunk is young: the first young one is in it.
    for _, entry in ipairs(old) do
      o, ms = string.match(entry[1], '^(%d+)-(%d+)$')
      if tonumber(ARGV[6]) - tonumber(ms) <= tonumber(ARGV[5]) then
        break
      end
    end
    first = tonumber(o)
    redis.pcall('XTRIM', KEYS[1], 'MINID', '=', o)
    break
  end
  redis.pcall('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f', tonumber(o) + 1))
  old = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 128)
end
local gap, entries = 0, nil
local limit = tonumber(ARGV[4]) + 1
local at = tonumber(ARGV[3])
if ARGV[1] == 'since' then
  local fork = nil -- up to where the log is that of the position
  if ARGV[2] == epoch or ARGV[2] == '' then
    fork = top
  else
    for past, o in string.gmatch(meta[3] or '', '(%S+):(%d+)') do
      if past == ARGV[2] then
        fork = tonumber(o)
        break
      end
    end
  end
  if ARGV[2] ~= '' and (not fork or at + 1 < first) then
    gap, at = 1, 0
  elseif ARGV[2] ~= '' and at > fork then
    gap, at = 1, fork
  end
  entries = redis.call('XRANGE', KEYS[1], string.format('%.0f', math.max(at + 1, first)), '+', 'COUNT', limit)
else
  local from = at > 0 and '(' .. ARGV[3] .. '-0' or '+'
  entries = redis.call('XREVRANGE', KEYS[1], from, string.format('%.0f', first), 'COUNT', limit)
end
return {gap, epoch, string.format('%.0f', top), entries}
