-- Notes that a campaign is open, if its start has come: what the schedule says is only a hint.
--
-- KEYS  campaign
-- Returns 'opened', 'open' if it was before, 'early', or 'gone', which a cancelled one is too
local terms = redis.call('HMGET', KEYS[1], 'starts_at_us', 'cancelled_at_us')
local starts_at = tonumber(terms[1])
if not starts_at or terms[2] then
  return 'gone'
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
if now < starts_at then
  return 'early'
end
local new = redis.call('HSETNX', KEYS[1], 'opened_at_us', string.format('%.0f', now)) == 1
return new and 'opened' or 'open'
