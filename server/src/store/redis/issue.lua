-- The one atomic step: decides about a batch of requests for coupons of one campaign.
--
-- KEYS  campaign, issued, ledger, codes, users, keys (all in one hash slot)
-- ARGV  four columns of one place for each request, '' where it brings nothing: the user as it was sent;
--       the holder, which is what the user is found by; the idempotency key; a code, should it get a coupon
-- Returns {coupons of the campaign, now in unix microseconds, {decision, ...}}
--       decision = the rank of a coupon that was issued now; or {what, code, seq, at_us} of one that was
--       issued before; or what is refused, in the order of the requests;
--       {-1, 0, {}} if there is no such campaign; {-2, 0, {what is wrong}} if a part of it is lost: then
--       nothing was done
--
-- The trick: a command costs more than what it does. So a column is looked up by one command, what is
-- granted is written by one command a key, and only rows of the ledger are written one by one.
--
-- Who asks again is found by one name: the holder where there is a limit, for then there is one coupon at
-- most and its row has the key; otherwise holder, a zero byte, key.
--
-- Redis runs a script alone and replicates and logs its writes as one transaction. Nothing in here
-- can run out of luck half way: whatever can be refused (memory, a damaged ledger) is refused at
-- the first row of the call, before anything else is written, and ends the script.
local campaign, counter, ledger, codes, users, keys = unpack(KEYS)
local requests = #ARGV / 4
-- Behind which place of ARGV each column begins.
local HOLDER, KEY, CODE = requests, 2 * requests, 3 * requests

local terms = redis.call('HMGET', campaign, 'coupons', 'starts_at_us', 'per_user_limit',
  'cancelled_at_us', 'keyed')
if not terms[1] then
  -- Campaigns are never deleted: one of which a part is left was lost.
  if redis.call('EXISTS', counter, ledger, codes, users, keys) > 0 then
    return {-2, 0, {'its terms are gone'}}
  end
  return {-1, 0, {}}
end
local coupons, starts_at, limited = tonumber(terms[1]), tonumber(terms[2]), terms[3] == '1'

-- The parts are only ever written together, so they always agree. Where they do not, some of them
-- were lost, and what is left cannot tell which coupons are out. All of this is O(1).
local before = tonumber(redis.call('GET', counter))
local rows, codes_out = redis.call('XLEN', ledger), redis.call('HLEN', codes)
local names = limited and users or keys
local names_out = redis.call('HLEN', names)
local named = limited and before or tonumber(terms[5] or 0)
if not before or rows ~= before or codes_out ~= before or names_out ~= named then
  return {-2, 0, {string.format('counter %s, ledger rows %d, codes %d, %s %d of %s', tostring(before),
    rows, codes_out, limited and 'users' or 'keys', names_out, tostring(named))}}
end

-- One clock rules the start, whichever instance asks: the one of this Redis.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
-- tostring() would keep 14 digits; microseconds have 16.
local now_text = string.format('%.0f', now)

-- What each request is found by if it comes again; '' if by nothing.
local name_of = {}
for at = 1, requests do
  local holder, key = ARGV[HOLDER + at], ARGV[KEY + at]
  name_of[at] = limited and holder or key ~= '' and holder .. '\0' .. key or ''
end

local seq_before = redis.call('HMGET', names, unpack(name_of))
local on_sale = not terms[4] and now >= starts_at and before < coupons
local is_taken = on_sale and redis.call('HMGET', codes, unpack(ARGV, CODE + 1, CODE + requests))

-- What this call grants: by what it is found, and what there is to write of it.
local issued, new_name = before, 0
local by_name, by_code = {}, {}
local new_names, new_codes = {}, {}

-- Code, key and time of a coupon, or nothing if it is lost.
local function recorded(seq)
  local id = seq .. '-0'
  local entry = redis.call('XRANGE', ledger, id, id)[1]
  local row = entry and entry[2]
  if row and tonumber(row[8]) then
    return row[2], row[6], tonumber(row[8])
  end
end

local function grant(at, code)
  issued = issued + 1
  local seq, name = tostring(issued), name_of[at]
  -- The ledger refuses an id that is not above its last one: a lost counter cannot issue again.
  redis.call('XADD', ledger, seq .. '-0', 'code', code, 'user', ARGV[at], 'key', ARGV[KEY + at],
    'at_us', now_text)
  local last = 2 * (issued - before)
  by_code[code], new_codes[last - 1], new_codes[last] = true, code, seq
  if name ~= '' then
    by_name[name], new_names[new_name + 1], new_names[new_name + 2] = seq, name, seq
    new_name = new_name + 2
  end
  return issued
end

local function decide(at)
  local name, key, code = name_of[at], ARGV[KEY + at], ARGV[CODE + at]
  if limited and name == '' then
    return 'user_missing'
  end
  local seq = name ~= '' and (seq_before[at] or by_name[name])
  local its_code, its_key, its_time
  if seq then
    its_code, its_key, its_time = recorded(seq)
    if not its_code then
      -- The other requests of the batch are none the worse for it.
      return 'damaged'
    end
    if not limited or key ~= '' and its_key == key then
      return {'issued', its_code, tonumber(seq), its_time}
    end
  end
  if terms[4] then
    return 'cancelled'
  end
  if now < starts_at then
    return 'not_started'
  end
  if seq then
    return {'already_issued', its_code, tonumber(seq), its_time}
  end
  if issued >= coupons then
    return 'sold_out'
  end
  if is_taken[at] or by_code[code] then
    return 'collision'
  end
  return grant(at, code)
end

local decisions = {}
for at = 1, requests do
  decisions[at] = decide(at)
end

if issued > before then
  redis.call('INCRBY', counter, tostring(issued - before))
  redis.call('HSET', codes, unpack(new_codes))
end
if new_name > 0 then
  redis.call('HSET', names, unpack(new_names))
  if not limited then
    redis.call('HINCRBY', campaign, 'keyed', tostring(new_name / 2))
  end
end
return {coupons, now, decisions}
