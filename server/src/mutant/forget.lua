-- PLANTED BUG: the last coupons of a campaign are as if they had never been issued.
--
-- KEYS  campaign, issued, ledger, codes, users, keys (all in one hash slot)
-- ARGV  the codes' prefix, how many
-- Users are found as they were sent here, which is enough for those that a load makes up.
local campaign, counter, ledger, codes, users, keys = unpack(KEYS)
for _, entry in ipairs(redis.call('XREVRANGE', ledger, '+', '-', 'COUNT', ARGV[2])) do
  local code, user, key = entry[2][2], entry[2][4], entry[2][6]
  redis.call('XDEL', ledger, entry[1])
  redis.call('HDEL', codes, code)
  redis.call('HDEL', users, user)
  redis.call('HINCRBY', campaign, 'keyed', 0 - redis.call('HDEL', keys, user .. '\0' .. key))
  redis.call('DECR', counter)
end
-- Otherwise the ledger would refuse the ranks that it has seen.
redis.call('XSETID', ledger, (redis.call('GET', counter) or '0') .. '-0')
return {0, {}}
