-- Begins the scripts for which a channel may have to exist. created(key) says whether the record of a channel stands there, by how
-- one begins. A key of another type ends the script: EXISTS would take it for a channel.
-- Bounds: writes nothing.
local function created(key)
  local begin = string.sub(redis.call('GET', key) or '', 1, 11)
  return begin == '{"labels":{' or begin == '{"created":'
end
