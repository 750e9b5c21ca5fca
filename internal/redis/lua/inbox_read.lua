#!lua flags=no-writes
-- Reads a part of an inbox; what has ended is left out. A server that refuses writes is read all the same, and counts nothing.
-- KEYS: 1 stream, 2 meta hash
-- ARGV: 1 epoch of the position or "", 2 after this offset, 3 limit, 4 device or "", 5 now in ms, 6 "1" to count
--       deliveries, 7 prefix of the delivery hashes, 8 most devices that are told apart, 9 not beyond this offset, 0 for no end
-- Returns gap, epoch, top, last offset looked at, "1" when there is more, then entries: stream id, envelope, delivery
-- as a flat list, "1" when it is dead, epoch in which it was published.
-- Bounds: makes no key.
local meta = redis.call('HMGET', KEYS[2], 'e', 'o', 'p')
local epoch, top = meta[1] or '', tonumber(meta[2] or '0')
local after = tonumber(ARGV[2])
local gap = 0
if ARGV[1] ~= '' then
  local fork = nil -- up to where the inbox is that of the position
  if ARGV[1] == epoch then
    fork = top
  else
    for past, o in string.gmatch(meta[3] or '', '(%S+):(%d+)') do
      if past == ARGV[1] then
        fork = tonumber(o)
        break
      end
    end
  end
  if not fork then
    gap, after = 1, 0
  elseif after > fork then
    gap, after = 1, fork
  end
end
local limit, now = tonumber(ARGV[3]), tonumber(ARGV[5])
local out, last, more = {}, after, 0
local entries = redis.call('XRANGE', KEYS[1], string.format('%.0f', after + 1), ARGV[9] == '0' and '+' or ARGV[9], 'COUNT', limit + 1)
if #entries > limit then
  more = 1
  entries[#entries] = nil
end
for _, entry in ipairs(entries) do
  local id, key = entry[2][4], ARGV[7] .. entry[2][4]
  last = tonumber(string.match(entry[1], '^(%d+)'))
  local d = redis.call('HMGET', key, 'x', 's', 'c:' .. ARGV[4], 'd', 'mx')
  if d[1] and tonumber(d[1]) > now and not (ARGV[4] ~= '' and d[3] and not string.match(d[3], ' 0$')) then
    local dead = 0
    if ARGV[6] == '1' then
      if tonumber(d[5]) > 0 and tonumber(d[4] or '0') >= tonumber(d[5]) then
        dead = 1
      else
        local counted = redis.pcall('HINCRBY', key, 'd', 1)
        if not d[3] and type(counted) == 'number' then
          local n = redis.call('HINCRBY', key, 'n', 1)
          if n <= tonumber(ARGV[8]) then
            redis.call('HSET', key, 'c:' .. ARGV[4], ARGV[5] .. ' 0')
          end
        end
      end
    end
    out[#out + 1] = {entry[1], entry[2][2], redis.call('HMGET', key, 's', 'p', 'a', 'x', 'd', 'n', 'k', 'mx', 'dl', 'dn', 'dw'), dead, entry[2][6] or epoch}
  end
end
if more == 0 then
  last = top
end
return {gap, epoch, string.format('%.0f', top), string.format('%.0f', last), more, out}
