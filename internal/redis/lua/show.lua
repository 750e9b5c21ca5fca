#!lua flags=allow-oom
-- Shows entries that were appended hidden: those whose replicas or disk have them, and what was held up behind them. An entry
-- whose publication was given up, or that is too old to be under way still, is withdrawn when it is in the way.
-- KEYS: 1 stream, 2 meta hash, 3 pub/sub channel, 4 retained message
-- ARGV: 1 epoch and 2 offset of the publication that is asked for, "" and 0 for none, 3 how many replicas have what was
--       written up to it, 4 "1" when the disk has, 5 "1" when the publication is given up, 6 PUBLISH or SPUBLISH, 7 after how
--       many ms an entry counts as given up
-- Returns "shown", "hidden" or "withdrawn" for the publication, and "1" when hidden entries are left.
-- Bounds: makes no key but the retained message, which has an expiry; at most 512 entries a call.
local meta = redis.call('HMGET', KEYS[2], 'e', 'o', 'p', 'v', 'g', 'w')
local wanted = tonumber(ARGV[2])
if not meta[1] then
  return {'withdrawn', ''}
end
if wanted > 0 and ARGV[1] ~= meta[1] then
  -- The log has forked since. What went on is the same up to the fork, and nothing beyond it.
  local fork = nil
  for past, o in string.gmatch(brief(meta[3]), '(%S+):(%d+)') do
    if past == ARGV[1] then
      fork = tonumber(o)
    end
  end
  if not fork or wanted > fork then
    return {'withdrawn', meta[4] and '1' or ''}
  end
end
local visible, top = tonumber(meta[4] or meta[2]), tonumber(meta[2])
local given = tonumber(meta[5] or '0')
if ARGV[5] == '1' and wanted > given and meta[4] then
  given = wanted
  redis.call('HSET', KEYS[2], 'g', ARGV[2])
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function number(n) return string.format('%.0f', n) end

-- Whether an entry is as durable as its publication asked.
local function durable(n, demand)
  if not demand then
    return true
  elseif n > wanted then
    return false
  elseif demand == 'f' then
    return ARGV[4] == '1'
  end
  return tonumber(ARGV[3]) >= tonumber(demand)
end

local before = visible
local withdrawn = meta[6] and brief(meta[6])

-- Notes the offset of an entry that nobody has seen or ever will: the newest 16 ranges, so that a reader takes none for trimmed.
local function withdraw(n)
  local from, to, rest = string.match(withdrawn or '', '^(%d+)-(%d+)(.*)$')
  if from and tonumber(to) == n - 1 then
    withdrawn = from .. '-' .. number(n) .. rest
    return
  end
  local older = withdrawn or ''
  withdrawn = number(n) .. '-' .. number(n)
  local kept = 1
  for range in string.gmatch(older, '%S+') do
    if kept == 16 then
      break
    end
    withdrawn = withdrawn .. ' ' .. range
    kept = kept + 1
  end
end

-- Ends what a message takes the place of, which waits until it is sure that the message will be there.
local function collapse(f)
  local id = redis.call('HGET', f.ch, f.c)
  local old = id and f.cp .. id
  local d = old and redis.call('HMGET', old, 'e', 'x', 'en')
  if d and d[1] and tonumber(d[2]) > now then -- otherwise its time has ended it
    redis.call('XDEL', KEYS[1], d[1])
    redis.call('ZREM', f.ca, d[1])
    if not d[3] then
      redis.call('HSET', old, 'r', 'collapsed', 'en', number(now))
      redis.call('PEXPIRE', old, f.cr)
    end
  end
  redis.call('HSET', f.ch, f.c, id_of(f.m))
  redis.call('PEXPIRE', f.ch, math.max(redis.call('PTTL', f.ch), tonumber(f.cx)))
end

-- Whether a change of a state is still the one that waits: the state may have been removed since.
local function waits(f)
  return f.sk and redis.call('HGET', f.sk, 'w') == f.sr
end
local entries = {}
if visible < top then
  entries = redis.call('XRANGE', KEYS[1], number(visible + 1), number(top), 'COUNT', 512)
end
local stopped = false
for _, entry in ipairs(entries) do
  local n, ms = string.match(entry[1], '^(%d+)-(%d+)$')
  n = tonumber(n)
  local f = {}
  for i = 1, #entry[2], 2 do
    f[entry[2][i]] = entry[2][i + 1]
  end
  if durable(n, f.d) then
    local push = f.h .. f.m
    if f.c then
      collapse(f)
    end
    if waits(f) then
      redis.call('HSET', f.sk, 'v', f.sv, 'r', f.sr, 't', ms)
      redis.call('HDEL', f.sk, 'w')
      redis.call('PEXPIRE', f.sk, f.sx)
    end
    if f.l then
      redis.call('SET', f.n, f.r and f.b or push, 'PX', f.l)
    end
    redis.call(ARGV[6], KEYS[3], f.s and '!' .. push or push)
    if f.s then -- a copy goes to another channel
      redis.call('PUBLISH', f.s, f.b)
    end
  elseif wanted > 0 and n <= given and n < top or now - tonumber(ms) > tonumber(ARGV[7]) then
    redis.call('XDEL', KEYS[1], entry[1])
    withdraw(n)
    if f.k then
      redis.call('DEL', f.k)
    end
    if f.q then -- nobody was given it
      redis.call('DEL', f.q)
    end
    if waits(f) then
      redis.call('HDEL', f.sk, 'w')
    end
  else
    stopped = true
    break
  end
  visible = n
end
if not stopped and #entries < 512 then
  visible = top -- what is missing at the end was trimmed
end
if withdrawn then
  redis.call('HSET', KEYS[2], 'w', withdrawn)
end
if meta[4] then
  if visible >= top then
    redis.call('HDEL', KEYS[2], 'v', 'g')
  elseif visible > before then
    redis.call('HSET', KEYS[2], 'v', number(visible))
  end
end
local left = visible < top and '1' or ''
if wanted == 0 or wanted > visible then
  return {'hidden', left}
end
local there = redis.call('XRANGE', KEYS[1], number(wanted), number(wanted), 'COUNT', 1)
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
if #there == 0 and #oldest > 0 and tonumber(string.match(oldest[1][1], '^(%d+)')) < wanted then
  return {'withdrawn', left}
end
return {'shown', left}
