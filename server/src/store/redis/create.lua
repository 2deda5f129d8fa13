-- Writes a campaign as a whole, unless its number is taken. Any part that is left of a campaign whose
-- others were lost takes its number.
--
-- KEYS  campaign, issued, ledger, codes, users, keys (all in one hash slot)
-- ARGV  name, coupons, starts_at_us, per_user_limit, idempotency key of the creation or ''
-- Returns 1 if written, else 0
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
if redis.call('EXISTS', unpack(KEYS)) > 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'coupons', ARGV[2], 'starts_at_us', ARGV[3],
  'per_user_limit', ARGV[4], 'created_at_us', string.format('%.0f', now))
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'create_key', ARGV[5])
end
redis.call('SET', KEYS[2], '0')
return 1
