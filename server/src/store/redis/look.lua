-- A campaign at one moment.
--
-- KEYS  campaign, issued, ledger, codes, users, keys (all in one hash slot)
-- Returns {how many of the keys there are, how many coupons were issued or -1, now in unix microseconds,
--          {name, coupons, starts_at_us, per_user_limit, opened_at_us or nil, cancelled_at_us or nil}},
--         the last of which is nil if the campaign has no terms
local terms = redis.call('HMGET', KEYS[1], 'name', 'coupons', 'starts_at_us', 'per_user_limit',
  'opened_at_us', 'cancelled_at_us')
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local there = terms[1] and terms[2] and terms[3] and terms[4]
return {redis.call('EXISTS', unpack(KEYS)), tonumber(redis.call('GET', KEYS[2]) or -1), now,
  there and terms}
