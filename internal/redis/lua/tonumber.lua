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
