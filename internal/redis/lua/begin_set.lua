#!lua flags=allow-oom
-- Makes a beginning where there is none of ours, notes that one is good in another life, or ends it: it is another epoch from then on.
-- KEYS: 1 beginning, 2 the same
-- ARGV: 1 proposed epoch, 2 old life, 3 present life, 4 "1" when it is good in that too; of the last three nothing makes one, and "*"
--       as the old life ends one for a log that was cut, once in each life
-- Returns 1.
-- Bounds: one key, which stays, for each durability; in a Cluster for each slot too.
local epoch, life, noted, cut = beginning()
local lives = present()
local ms = string.format('%.0f', now)
if not epoch then
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. lives .. ' ' .. ms)
elseif ARGV[2] == '*' then
  if life ~= lives or cut == '' then
    redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. lives .. ' ' .. ms .. ' cut')
  end
elseif ARGV[2] == life and ARGV[3] == lives then
  redis.call('SET', KEYS[1], (ARGV[4] == '1' and epoch or ARGV[1]) .. ' ' .. lives .. ' ' .. ms)
end
return 1
