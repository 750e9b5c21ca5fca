#!lua flags=no-writes
-- Returns the newest positions of addresses that are not hidden, for each the epoch, the offset, and "1" when half of the life
-- of its meta hash is over. The epoch is empty for an address that has none, and the offset is "?" for one that cannot be read.
-- KEYS: meta hashes
-- ARGV: 1 lifetime of a meta hash in ms
-- Bounds: writes nothing; the caller names up to 512.
local out, half = {}, tonumber(ARGV[1]) / 2
for i, key in ipairs(KEYS) do
  local meta = redis.pcall('HMGET', key, 'e', 'o', 'v', 'p')
  local epoch, top, old = meta[1] or '', meta[3] or meta[2] or '0', ''
  if meta.err or not whole(top) then
    epoch, top = '', '?'
  elseif meta[1] then
    if meta[3] then -- what is hidden may have forked since
      for past, o in string.gmatch(brief(meta[4]), '(%S+):(%d+)') do
        if tonumber(top) > tonumber(o) then
          break
        end
        epoch = past
      end
    end
    local left = redis.call('PTTL', key)
    if left >= 0 and left < half then
      old = '1'
    end
  end
  out[3 * i - 2], out[3 * i - 1], out[3 * i] = epoch, top, old
end
return out
