-- Begins the scripts that judge the age of a log. young(top, since) returns the offset of the first entry that was published
-- at the time or later, in ms, and that of the oldest entry; each is top + 1 when there is none. Offsets are dense and times grow with them, so it is found by halves.
-- KEYS: 1 stream
-- Bounds: reads about as many entries as the length of the log has bits.
local function young(top, since)
  local function place(entry)
    local offset, ms = string.match(entry[1], '^(%d+)-(%d+)$')
    return tonumber(offset), tonumber(ms) >= since
  end
  local entry = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if not entry then
    return top + 1, top + 1
  end
  local oldest, is = place(entry)
  if is then
    return oldest, oldest
  end
  local old, first = oldest, top + 1
  while first - old > 1 do -- old is too old, and first is not
    local middle = math.floor((old + first) / 2)
    entry = redis.call('XRANGE', KEYS[1], string.format('%.0f', middle), '+', 'COUNT', 1)[1]
    local offset, enough = top + 1, true
    if entry then
      offset, enough = place(entry)
    end
    if enough then
      first = middle
    else
      old = offset
    end
  end
  return first, oldest
end
