#!lua flags=no-writes
-- Reads a part of a log; what is too old is left out. A server that refuses writes is read all the same.
-- KEYS: 1 stream, 2 meta hash
-- ARGV: 1 "since" or "latest", 2 epoch of the position or "", 3 offset (since: after it; latest: before it, 0 for
--       the newest), 4 limit, 5 age in ms, 6 lifetime of the meta hash in ms
-- Returns gap, epoch, top, then entries of the stream: one more than limit when there are more, the time in ms,
-- the past epochs, "1" when the meta hash has to be prolonged, the offset at which the page ends because the log forked there,
-- and "1" when the log forked behind the position. A gap is 1 when messages are missing and 2 when they may be, because the
-- log forked right there. The epoch of a log that has none is empty, and so is the log.
-- Bounds: writes nothing, reads limit + 1 entries and those of a binary search.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local time = string.format('%.0f', now)
local meta = redis.call('HMGET', KEYS[2], 'e', 'o', 'p', 'v', 'w')
local epoch, last = meta[1], offset_of(meta[2], KEYS[1])
local top = tonumber(meta[4] or last) -- what is behind it is hidden
if not epoch then
  return {ARGV[2] ~= '' and string.sub(ARGV[2], 1, 1) ~= '0' and 1 or 0, '', '0', {}, time, '', '', '', ''}
end
local start = string.sub(ARGV[2], 1, 1) == '0' -- before the first message; the caller knows whether it is the right one
local first = young(last, now - ARGV[5])
-- What was withdrawn before the oldest entry was never there, and is not missing.
for from, to in string.gmatch(brief(meta[5]), '(%d+)-(%d+)') do
  if tonumber(to) == first - 1 then
    first = tonumber(from)
  end
end
local gap, entries = 0, nil
local limit = tonumber(ARGV[4]) + 1
local at = tonumber(ARGV[3])
local ends, forked = '', false
if ARGV[1] == 'since' then
  local fork = nil -- up to where the log is that of the position
  if ARGV[2] == epoch or ARGV[2] == '' or start then
    fork = last
  else
    for past, o in string.gmatch(brief(meta[3]), '(%S+):(%d+)') do
      if past == ARGV[2] then
        fork = tonumber(o)
        forked = top > fork
        break
      end
    end
  end
  if ARGV[2] ~= '' and (not fork or at + 1 < first) then
    gap, at = 1, 0
  elseif ARGV[2] ~= '' and at > fork then
    gap, at = 1, fork
  elseif forked and at == fork then
    gap = 2
  end
  -- A page ends where the log forks, so that the gap there has its place.
  local start, last = math.max(at + 1, first), top
  if ARGV[2] ~= '' then
    for _, o in string.gmatch(brief(meta[3]), '(%S+):(%d+)') do
      if tonumber(o) >= start and tonumber(o) < last then
        last = tonumber(o)
        ends = o
      end
    end
  end
  entries = redis.call('XRANGE', KEYS[1], string.format('%.0f', start), string.format('%.0f', last), 'COUNT', limit)
else
  local from = at > 0 and at <= top and '(' .. ARGV[3] .. '-0' or string.format('%.0f', top)
  entries = redis.call('XREVRANGE', KEYS[1], from, string.format('%.0f', first), 'COUNT', limit)
end
return {gap, epoch, string.format('%.0f', top), entries, time, meta[3] or '', 
  redis.call('PTTL', KEYS[2]) < ARGV[6] / 2 and '1' or '', ends, forked and '1' or ''}
