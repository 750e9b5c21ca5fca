-- Begins every script: what stands in Redis is input, and Lua ends a script that counts with what is no number. tonumber(text)
-- is 0 for anything that we do not write, such as a text, infinity, or more than a double counts exactly.
local plain = tonumber
local function tonumber(text)
  local n = plain(text)
  if not n or n ~= n or n > 9007199254740992 or n < -9007199254740992 then
    return 0
  end
  return n
end

-- whole(text) is a number that counts something, and nil for anything that we do not write as one.
local function whole(text)
  local n = #text < 17 and string.match(text, '^%d+$') and plain(text)
  return n and n < 9007199254740992 and n or nil
end

-- offset_of(text, stream) reads the newest offset of a log, which is 0 where there is none yet. It is that of the newest entry, and the
-- second value is true, where the text is not as we write it.
local function offset_of(text, stream)
  local n = whole(text or '0')
  if n then
    return n, false
  end
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  return newest and tonumber(string.match(newest[1], '^(%d+)')) or 0, true
end

-- brief(text) is a list that a meta hash has, and empty for what is longer than any of ours: looking through it would take long.
local function brief(text)
  return text and #text <= 1024 and text or ''
end
