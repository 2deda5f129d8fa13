-- PLANTED BUG: issues without looking at how many coupons are left. The rest is as it should be.
--
-- KEYS  campaign, issued, ledger, codes, users, keys (all in one hash slot)
-- ARGV  the codes' prefix, user or '', idempotency key or '', a tail
local campaign, counter, ledger, codes, users, keys = unpack(KEYS)
local prefix, user, key, tail = unpack(ARGV)

local terms = redis.call('HMGET', campaign, 'coupons', 'starts_at_us', 'per_user_limit')
if not terms[1] then
  return {-1, {}}
end
local coupons, starts_at, limited = tonumber(terms[1]), tonumber(terms[2]), terms[3] == '1'
local issued = tonumber(redis.call('GET', counter) or '0')
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
-- tostring() would keep 14 digits; microseconds have 16.
local now_text = string.format('%.0f', now)

local function refused(what)
  return {what, '', 0, 0}
end

local function recorded(what, seq)
  local id = seq .. '-0'
  local entry = redis.call('XRANGE', ledger, id, id)[1]
  if not entry then
    return refused('damaged')
  end
  local row = entry[2]
  return {what, row[2], tonumber(seq), tonumber(row[8])}
end

if limited and user == '' then
  return {coupons, {refused('user_missing')}}
end
if key ~= '' then
  local seq = redis.call('HGET', keys, user .. '\0' .. key)
  if seq then
    return {coupons, {recorded('issued', seq)}}
  end
end
if now < starts_at then
  return {coupons, {refused('not_started')}}
end
if limited then
  local seq = redis.call('HGET', users, user)
  if seq then
    return {coupons, {recorded('already_issued', seq)}}
  end
end
local code = prefix .. tail
if redis.call('HEXISTS', codes, code) == 1 then
  return {coupons, {refused('collision')}}
end
local seq = string.format('%d', issued + 1)
redis.call('XADD', ledger, seq .. '-0', 'code', code, 'user', user, 'key', key, 'at_us', now_text)
redis.call('INCR', counter)
redis.call('HSET', codes, code, seq)
if limited then
  redis.call('HSET', users, user, seq)
end
if key ~= '' then
  redis.call('HSET', keys, user .. '\0' .. key, seq)
end
return {coupons, {{'issued', code, issued + 1, now}}}
