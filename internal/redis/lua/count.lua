#!lua
-- Notes which addresses of a space were written to, and returns about how many were in as many days as they are kept. Each day has a
-- sketch of its own (HyperLogLog), so what is noted twice, or by several processes, counts once. The days before today are put
-- together once a day.
-- KEYS: 1 beginning of the names of the sketches
-- ARGV: 1 how many days, then the addresses
-- Bounds: a sketch has 12 kB, and expires; the caller names up to 1,000 addresses.
local day = math.floor(redis.call('TIME')[1] / 86400)
local days = tonumber(ARGV[1])
local today, past = KEYS[1] .. ':' .. day, KEYS[1] .. ':p' .. day
if #ARGV > 1 then
  redis.call('PFADD', today, unpack(ARGV, 2))
  redis.call('PEXPIRE', today, (days + 1) * 86400000)
end
if redis.call('EXISTS', past) == 0 then
  local sketches = {}
  for i = 1, days do
    sketches[i] = KEYS[1] .. ':' .. (day - i)
  end
  redis.call('PFMERGE', past, unpack(sketches))
  redis.call('PEXPIRE', past, 2 * 86400000)
end
return redis.call('PFCOUNT', past, today)
