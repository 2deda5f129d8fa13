-- The one atomic step: decides about a batch of requests for coupons of one campaign.
--
-- KEYS  campaign, issued, ledger, codes, users, keys (all in one hash slot)
-- ARGV  six columns of one place for each request, '' where it brings nothing: the user as it was sent;
--       the holder, which is what the user is found by; the idempotency key; what the key is found by,
--       which is holder, a zero byte, key; a code; another code, should that be taken
-- Returns {coupons of the campaign, now in unix microseconds, {decision, ...}}
--       decision = the rank of a coupon that was issued now, by the first code; or {what, code, seq, at_us}
--       of another coupon; or what is refused, in the order of the requests;
--       {-1, 0, {}} if there is no such campaign; {-2, 0, {what is wrong}} if a part of it is lost: then
--       nothing was done
--
-- The trick: a command costs more than what it does. So a column is looked up by one command, what is
-- granted is written by one command a key, and only rows of the ledger are written one by one.
--
-- Redis runs a script alone and replicates and logs its writes as one transaction. Nothing in here
-- can run out of luck half way: whatever can be refused (memory, a damaged ledger) is refused at
-- the first row of the call, before anything else is written, and ends the script.
local campaign, counter, ledger, codes, users, keys = unpack(KEYS)
local requests = #ARGV / 6
-- Behind which place of ARGV each column begins.
local HOLDER, KEY, NAME, CODE, SPARE = requests, 2 * requests, 3 * requests, 4 * requests, 5 * requests

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
local holders = limited and redis.call('HLEN', users) or before
local keyed, keys_out = tonumber(terms[5] or 0), redis.call('HLEN', keys)
if not before or rows ~= before or codes_out ~= before or holders ~= before or keys_out ~= keyed then
  return {-2, 0, {string.format('counter %s, ledger rows %d, codes %d, holders %s, keys %d of %d',
    tostring(before), rows, codes_out, limited and tostring(holders) or 'any', keys_out, keyed)}}
end

-- One clock rules the start, whichever instance asks: the one of this Redis.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
-- tostring() would keep 14 digits; microseconds have 16.
local now_text = string.format('%.0f', now)

-- What the hash says of each place of a column.
local function look_up(hash, column)
  return redis.call('HMGET', hash, unpack(ARGV, column + 1, column + requests))
end

local seq_of_name = look_up(keys, NAME)
local seq_of_holder = limited and look_up(users, HOLDER)
local on_sale = not terms[4] and now >= starts_at and before < coupons
local is_taken = on_sale and look_up(codes, CODE)

-- What this call grants: by what it is found, and what there is to write of it.
local issued, with_key = before, 0
local by_name, by_holder, by_code = {}, {}, {}
local new_keys, new_users, new_codes = {}, {}, {}

local function recorded(what, seq)
  local id = seq .. '-0'
  local entry = redis.call('XRANGE', ledger, id, id)[1]
  if not entry or not tonumber(entry[2][8]) then
    -- The other requests of the batch are none the worse for it.
    return 'damaged'
  end
  local row = entry[2]
  return {what, row[2], tonumber(seq), tonumber(row[8])}
end

local function grant(at, code)
  issued = issued + 1
  local seq, key, holder = tostring(issued), ARGV[KEY + at], ARGV[HOLDER + at]
  -- The ledger refuses an id that is not above its last one: a lost counter cannot issue again.
  redis.call('XADD', ledger, seq .. '-0', 'code', code, 'user', ARGV[at], 'key', key, 'at_us', now_text)
  local last = 2 * (issued - before)
  by_code[code], new_codes[last - 1], new_codes[last] = seq, code, seq
  if limited then
    by_holder[holder], new_users[last - 1], new_users[last] = seq, holder, seq
  end
  if key ~= '' then
    with_key = with_key + 1
    local name = ARGV[NAME + at]
    by_name[name], new_keys[2 * with_key - 1], new_keys[2 * with_key] = seq, name, seq
  end
end

local function decide(at)
  local holder = ARGV[HOLDER + at]
  if limited and holder == '' then
    return 'user_missing'
  end
  if ARGV[KEY + at] ~= '' then
    local seq = seq_of_name[at] or by_name[ARGV[NAME + at]]
    if seq then
      return recorded('issued', seq)
    end
  end
  if terms[4] then
    return 'cancelled'
  end
  if now < starts_at then
    return 'not_started'
  end
  if limited then
    local seq = seq_of_holder[at] or by_holder[holder]
    if seq then
      return recorded('already_issued', seq)
    end
  end
  if issued >= coupons then
    return 'sold_out'
  end
  local code, spare = ARGV[CODE + at], ARGV[SPARE + at]
  if not is_taken[at] and not by_code[code] then
    grant(at, code)
    return issued
  end
  if redis.call('HEXISTS', codes, spare) == 0 and not by_code[spare] then
    grant(at, spare)
    return {'issued', spare, issued, now}
  end
  return 'collision'
end

local decisions = {}
for at = 1, requests do
  decisions[at] = decide(at)
end

if issued > before then
  redis.call('INCRBY', counter, tostring(issued - before))
  redis.call('HSET', codes, unpack(new_codes))
  if limited then
    redis.call('HSET', users, unpack(new_users))
  end
end
if with_key > 0 then
  redis.call('HSET', keys, unpack(new_keys))
  redis.call('HINCRBY', campaign, 'keyed', tostring(with_key))
end
return {coupons, now, decisions}
