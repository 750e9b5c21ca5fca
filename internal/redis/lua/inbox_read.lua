#!lua flags=no-writes
-- Reads a part of an inbox; what has ended is left out.
-- KEYS: 1 stream, 2 meta hash
-- ARGV: 1 epoch of the position or "", 2 after this offset, 3 limit, 4 device or "", 5 prefix of the delivery hashes, 6 most
--       devices that are told apart, 7 not beyond this offset, 0 for no end, 8 "1" without a device for what any device is given
-- Returns gap (1 when messages are missing, 2 when they may be: the inbox has forked since), epoch, top, last offset looked at, "1" when there is more, then entries: stream id, envelope, delivery
-- as a flat list, "1" when it is dead to the device, epoch in which it was published.
-- Bounds: writes nothing, reads limit + 1 entries.
local meta = redis.call('HMGET', KEYS[2], 'e', 'o', 'p', 'v')
local epoch, newest = meta[1] or '', offset_of(meta[2], KEYS[1])
local top = tonumber(meta[4] or newest) -- what is behind it is hidden
local after = tonumber(ARGV[2])
local gap = 0
if ARGV[1] ~= '' then
  local fork = nil -- up to where the inbox is that of the position
  if ARGV[1] == epoch then
    fork = newest
  else
    for past, o in string.gmatch(brief(meta[3]), '(%S+):(%d+)') do
      if past == ARGV[1] then
        fork = tonumber(o)
        if after <= fork and top > fork then -- what is behind the fork is told with the first message there
          gap = 2
        end
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
local limit, now = tonumber(ARGV[3]), tonumber(clock())

-- given says whether a message is given to who asks, and whether it is dead to it. d: x, s, r, en, mx, d, n, field of the device.
local function given(d)
  if not d[1] or tonumber(d[1]) <= now or d[3] then
    return false
  end
  if ARGV[4] == '' then
    return not d[4] or ARGV[8] == '1'
  end
  local v = known(d[8])
  if v and (v.acked ~= '0' or v.denied ~= '0') then
    return false
  end
  local each = d[2] == '2'
  if each and not v and tonumber(d[7] or '0') >= tonumber(ARGV[6]) then
    return false -- its ack could not be remembered
  end
  local times = each and (v and v.times or '0') or d[6] or '0'
  local dead = d[5] and d[5] ~= '0' and tonumber(times) >= tonumber(d[5])
  return not (dead and d[4]), dead -- what has ended has no dead letters
end

local out, last, more = {}, after, 0
local entries = redis.call('XRANGE', KEYS[1], string.format('%.0f', after + 1), 
  string.format('%.0f', ARGV[7] == '0' and top or math.min(top, tonumber(ARGV[7]))), 'COUNT', limit + 1)
if #entries > limit then
  more = 1
  entries[#entries] = nil
end
for _, entry in ipairs(entries) do
  local id = id_of(entry[2][2])
  local key = ARGV[5] .. id
  last = tonumber(string.match(entry[1], '^(%d+)'))
  local yes, dead = given(redis.call('HMGET', key, 'x', 's', 'r', 'en', 'mx', 'd', 'n', 'c:' .. ARGV[4]))
  if id == '' then
    out[#out + 1] = {entry[1], entry[2][2], {}, 0, epoch} -- no message of ours: the reader counts it
  elseif yes then
    out[#out + 1] = {entry[1], entry[2][2], redis.call('HMGET', key, 's', 'e', 'a', 'x', 'd', 'n', 'k', 'mx', 'dl', 'dn', 'dw', 'en'),
      dead and 1 or 0, born(epoch, meta[3], last)}
  end
end
if more == 0 then
  last = top
end
return {gap, meta[4] and born(epoch, meta[3], top) or epoch, string.format('%.0f', top), string.format('%.0f', last), more, out}
