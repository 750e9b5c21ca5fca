#!lua flags=no-writes
-- Returns the newest position of an address that is not hidden, with an empty epoch for one that has none, and "1" when its
-- meta hash has to be prolonged.
-- KEYS: 1 meta hash
-- ARGV: 1 lifetime of the meta hash in ms
local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 'v', 'p')
local epoch, top = meta[1] or '', meta[3] or meta[2] or '0'
if meta[3] then -- what is hidden may have forked since
  for past, o in string.gmatch(meta[4] or '', '(%S+):(%d+)') do
    if tonumber(top) > tonumber(o) then
      break
    end
    epoch = past
  end
end
local prolong = meta[1] and redis.call('PTTL', KEYS[1]) < ARGV[1] / 2
return {epoch, top, prolong and '1' or ''}
