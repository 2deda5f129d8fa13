-- PLANTED BUG: the step of one request, with whatever slip the arguments ask for.
--
-- KEYS  campaign, issued, ledger, codes, users, keys (all in one hash slot)
-- ARGV  the codes' prefix, what the user is found by or '', idempotency key or '', the code, its owner
--       as sent and what that one is found by, how many coupons
--       more than there are, how many microseconds the start is later, to a multiple of how many it
--       is cut, whether holders and keys are looked for ('1' or '0'), what is written: 'whole',
--       'no_row', 'no_count', or a number, which becomes the count; and the rank, or 0 for the next
local campaign, counter, ledger, codes, users, keys = unpack(KEYS)
local _, user, key, code, owner, found_by, more, later, step, sees_holder, sees_key, writes, fixed =
  unpack(ARGV)

local terms = redis.call('HMGET', campaign, 'coupons', 'starts_at_us', 'per_user_limit',
  'cancelled_at_us')
if not terms[1] then
  return {-1, {}}
end
local coupons, starts_at, limited = tonumber(terms[1]), tonumber(terms[2]), terms[3] == '1'
starts_at = starts_at - starts_at % tonumber(step) + tonumber(later)
local issued = tonumber(redis.call('GET', counter) or '0')
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
-- tostring() would keep 14 digits; microseconds have 16.
local now_text = string.format('%.0f', now)

local function told(what, code, seq, at)
  return {coupons, {{what, code, seq, at}}}
end

local function recorded(what, seq)
  local entry = redis.call('XRANGE', ledger, seq .. '-0', seq .. '-0')[1]
  if not entry then
    return told('damaged', '', 0, 0)
  end
  return told(what, entry[2][2], tonumber(seq), tonumber(entry[2][8]))
end

if limited and user == '' then
  return told('user_missing', '', 0, 0)
end
local held = limited and redis.call('HGET', users, user)
if key ~= '' and sees_key == '1' then
  local seq = redis.call('HGET', keys, user .. '\0' .. key)
  local row = held and redis.call('XRANGE', ledger, held .. '-0', held .. '-0')[1]
  if seq or row and row[2][6] == key then
    return recorded('issued', seq or held)
  end
end
if terms[4] then
  return told('cancelled', '', 0, 0)
end
if now < starts_at then
  return told('not_started', '', 0, 0)
end
if held and sees_holder == '1' then
  return recorded('already_issued', held)
end
if issued >= coupons + tonumber(more) then
  return told('sold_out', '', 0, 0)
end

local last = redis.call('XREVRANGE', ledger, '+', '-', 'COUNT', 1)[1]
local rank = math.max(issued, last and tonumber(string.match(last[1], '^%d+')) or 0) + 1
if fixed ~= '0' then
  rank = tonumber(fixed)
end
local seq = string.format('%d', rank)
if writes ~= 'no_row' then
  redis.call('XADD', ledger, seq .. '-0', 'code', code, 'user', owner, 'key', key, 'at_us', now_text)
  redis.call('HSET', codes, code, seq)
  if limited then
    redis.call('HSETNX', users, found_by, seq)
  end
  if key ~= '' then
    redis.call('HINCRBY', campaign, 'keyed', redis.call('HSETNX', keys, found_by .. '\0' .. key, seq))
  end
end
if writes == 'whole' or writes == 'no_row' then
  redis.call('INCR', counter)
elseif writes ~= 'no_count' then
  redis.call('SET', counter, writes)
end
return told('issued', code, rank, now)
