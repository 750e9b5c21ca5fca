-- Begins the scripts about deliveries.

-- clock returns the time of the server in ms, as text: whatever decides about a message goes by it.
local function clock()
  local t = redis.call('TIME')
  return string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
end

-- known reads the field of a device: when it was given the message, when it acknowledged it, how often it was given it, and
-- when and why it was denied it. The times are text, "0" for never. Returns nil for a device without a field.
local function known(field)
  if not field then
    return nil
  end
  local sent, acked, times, denied, why = string.match(field, '^(%d+) (%d+) (%d+) (%d+) (.*)$')
  if not sent then -- not ours
    return nil
  end
  return {sent = sent, acked = acked, times = times, denied = denied, why = why}
end

-- field is what known reads.
local function field(v)
  return v.sent .. ' ' .. v.acked .. ' ' .. v.times .. ' ' .. v.denied .. ' ' .. v.why
end
