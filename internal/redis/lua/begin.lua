#!lua flags=no-writes
-- Returns the epoch of a beginning. In another life than that in which it was good, something may be missing that was acknowledged, of
-- which nothing is left that could tell. Whether that is so cannot be found out in here.
-- KEYS: 1 beginning, 2 the same
-- Returns "is" and the epoch, "none" and whether there is something that is not ours, or "prove", the old life, the present one, when
-- the old one was noted in ms, the epoch, and 0.
-- Bounds: writes nothing.
local epoch, life, noted = beginning()
if not epoch then
  return {'none', redis.call('GET', KEYS[1]) and '1' or '0'}
end
if same(life) then
  return {'is', epoch}
end
local now_lives = present()
if now_lives == '' or now_lives == life then
  return {'is', epoch}
end
return {'prove', life, now_lives, noted, epoch, '0'}
