#!lua flags=no-writes
-- Returns how many members there are, and a page of them: each connection, and what is known of it.
-- KEYS: 1 members, 2 their order
-- ARGV: 1 connection after which the page begins, or "", 2 limit
-- Bounds: makes no key.
local from = '-'
if ARGV[1] ~= '' then
  from = '(' .. ARGV[1]
end
local list = redis.call('ZRANGEBYLEX', KEYS[2], from, '+', 'LIMIT', 0, ARGV[2])
local page = {tostring(redis.call('ZCARD', KEYS[2]))}
if #list > 0 then
  for i, member in ipairs(redis.call('HMGET', KEYS[1], unpack(list))) do
    page[#page + 1] = list[i]
    page[#page + 1] = member or ''
  end
end
return page
