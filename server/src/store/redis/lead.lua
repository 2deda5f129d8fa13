-- Takes or keeps the lead, and says which campaigns should be open by now.
--
-- KEYS  leader, starts (both in one hash slot)
-- ARGV  the instance's name, for how many milliseconds it leads
-- Returns {1 if it leads else 0, now in unix microseconds, the next start or -1, {numbers that are due}}
local clock = redis.call('TIME')
local now = string.format('%.0f', tonumber(clock[1]) * 1000000 + tonumber(clock[2]))
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then
  return {0, tonumber(now), -1, {}}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)
local next = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {1, tonumber(now), tonumber(next[2] or -1), due}
