-- Claims a number for an idempotency key, unless it is claimed already.
--
-- KEYS  the claim
-- ARGV  the number
-- Returns {1 if it was claimed by this call else 0, the number that is claimed}
local first = redis.call('SETNX', KEYS[1], ARGV[1])
return {first, tonumber(redis.call('GET', KEYS[1]))}
