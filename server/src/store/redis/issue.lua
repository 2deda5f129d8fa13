-- The one atomic step: decides about a batch of requests for coupons of one campaign.
--
-- KEYS  campaign, issued, ledger, codes, users, keys (all in one hash slot)
-- ARGV  the codes' prefix, the number of candidate tails a request brings,
--       then for each request: user or '' as it was sent, what the user is found by or '', idempotency
--       key or '', the tails
-- Returns {coupons of the campaign or -1 if there is none, {decision, ...}}
--       decision = {what, code, seq, at_us}, in the order of the requests;
--       {-2, {what is wrong}} if a part of the campaign is lost: then nothing was done
--
-- Redis runs a script alone and replicates and logs its writes as one transaction. Nothing in here
-- can run out of luck half way: whatever can be refused (memory, a damaged ledger) is refused at
-- the first write of a request, and ends the script.
local campaign, counter, ledger, codes, users, keys = unpack(KEYS)
local prefix, candidates = ARGV[1], tonumber(ARGV[2])

local terms = redis.call('HMGET', campaign, 'coupons', 'starts_at_us', 'per_user_limit',
  'cancelled_at_us', 'keyed')
if not terms[1] then
  -- Campaigns are never deleted: one of which a part is left was lost.
  if redis.call('EXISTS', counter, ledger, codes, users, keys) > 0 then
    return {-2, {'its terms are gone'}}
  end
  return {-1, {}}
end
local coupons, starts_at, limited = tonumber(terms[1]), tonumber(terms[2]), terms[3] == '1'

-- The parts are only ever written together, so they always agree. Where they do not, some of them
-- were lost, and what is left cannot tell which coupons are out. All of this is O(1).
local issued = tonumber(redis.call('GET', counter))
local rows, codes_out = redis.call('XLEN', ledger), redis.call('HLEN', codes)
local holders = limited and redis.call('HLEN', users) or issued
local keyed, keys_out = tonumber(terms[5] or 0), redis.call('HLEN', keys)
if not issued or rows ~= issued or codes_out ~= issued or holders ~= issued or keys_out ~= keyed then
  return {-2, {string.format('counter %s, ledger rows %d, codes %d, holders %s, keys %d of %d',
    tostring(issued), rows, codes_out, limited and tostring(holders) or 'any', keys_out, keyed)}}
end

-- One clock rules the start, whichever instance asks: the one of this Redis.
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
  if not entry or not tonumber(entry[2][8]) then
    -- The other requests of the batch are none the worse for it.
    return refused('damaged')
  end
  local row = entry[2]
  return {what, row[2], tonumber(seq), tonumber(row[8])}
end

local function grant(user, holder, key, code)
  issued = issued + 1
  local seq = string.format('%d', issued)
  -- The ledger refuses an id that is not above its last one: a lost counter cannot issue again.
  redis.call('XADD', ledger, seq .. '-0', 'code', code, 'user', user, 'key', key, 'at_us', now_text)
  redis.call('INCR', counter)
  redis.call('HSET', codes, code, seq)
  if limited then
    redis.call('HSET', users, holder, seq)
  end
  if key ~= '' then
    redis.call('HSET', keys, holder .. '\0' .. key, seq)
    redis.call('HINCRBY', campaign, 'keyed', 1)
  end
  return {'issued', code, issued, now}
end

local function decide(user, holder, key, first_tail)
  if limited and holder == '' then
    return refused('user_missing')
  end
  if key ~= '' then
    local seq = redis.call('HGET', keys, holder .. '\0' .. key)
    if seq then
      return recorded('issued', seq)
    end
  end
  if terms[4] then
    return refused('cancelled')
  end
  if now < starts_at then
    return refused('not_started')
  end
  if limited then
    local seq = redis.call('HGET', users, holder)
    if seq then
      return recorded('already_issued', seq)
    end
  end
  if issued >= coupons then
    return refused('sold_out')
  end
  for tail = first_tail, first_tail + candidates - 1 do
    local code = prefix .. ARGV[tail]
    if redis.call('HEXISTS', codes, code) == 0 then
      return grant(user, holder, key, code)
    end
  end
  return refused('collision')
end

local decisions = {}
for at = 3, #ARGV, 3 + candidates do
  decisions[#decisions + 1] = decide(ARGV[at], ARGV[at + 1], ARGV[at + 2], at + 3)
end
return {coupons, decisions}
