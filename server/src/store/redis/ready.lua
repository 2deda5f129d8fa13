-- Writes something that is gone in a second, to see whether anything can be written.
--
-- KEYS  whatever it is
-- Returns now in unix microseconds
redis.call('SET', KEYS[1], '1', 'PX', 1000)
local clock = redis.call('TIME')
return tonumber(clock[1]) * 1000000 + tonumber(clock[2])
