-- beginning() reads one: its epoch, the life of the server in which it is good, when that was found out in ms, and " cut" once it was
-- ended in that life because a log had lost its end. It returns nothing for anything that we do not write.
-- KEYS: 1 beginning, 2 the same
local function beginning()
  local text = redis.call('GET', KEYS[1])
  if text and #text <= 256 then
    return string.match(text, '^(0%w+) (%w*) (%d+)( ?%l*)$')
  end
end

-- present() is the life that the server lives. Empty where INFO is not permitted.
local function present()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or ''
end
