#!lua flags=allow-oom
-- Notes under which life of the server a log goes on, after it was found out whether everything acknowledged in the old one is
-- there. If it is not, the log forks: what is here is of the old epoch, and what follows is of another.
-- KEYS: 1 stream, 2 meta hash, 3 with ARGV 5: time since when revocations are complete
-- ARGV: 1 old life, 2 present life, 3 "1" when everything is there, 4 proposed epoch, 5 that time in ms, or nothing
-- Returns 1, or 0 when the server lives another life by now.
-- Bounds: makes no key but that time, which stays; the past epochs by number.
local meta = redis.call('HMGET', KEYS[2], 'e', 'r', 'o', 'p')
if not meta[1] or (meta[2] or '') ~= ARGV[1] then
  return 1 -- somebody else has proved it
end
local info = redis.pcall('INFO', 'replication')
local life = type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or ''
if life ~= ARGV[2] then
  return 0
end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[2], 'r', life)
  return 1
end
if ARGV[5] and tonumber(redis.call('GET', KEYS[3]) or '0') < tonumber(ARGV[5]) then
  redis.call('SET', KEYS[3], ARGV[5])
end
local past = meta[1] .. ':' .. (meta[3] or '0')
local n = 1
for one in string.gmatch(brief(meta[4]), '%S+') do
  if n == 16 then
    break
  end
  past = past .. ' ' .. one
  n = n + 1
end
redis.call('HSET', KEYS[2], 'e', ARGV[4], 'r', life, 'p', past)
return 1
