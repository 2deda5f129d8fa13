-- Cancels a campaign for good, if there is one.
--
-- KEYS  campaign
if redis.call('EXISTS', KEYS[1]) == 1 then
  local clock = redis.call('TIME')
  local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
  redis.call('HSETNX', KEYS[1], 'cancelled_at_us', string.format('%.0f', now))
end
return 0
