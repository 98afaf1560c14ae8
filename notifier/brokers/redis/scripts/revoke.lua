-- Keep revocations of tokens, or of users' tokens, each until they end.
--
-- KEYS: what is revoked, a sorted set by when that ends (seconds since 1970); the tag
-- ARGV: the tag from now on, how many are kept, then the end and the name of each
local now = tonumber(redis.call('TIME')[1])
for n = 3, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'GT', ARGV[n], ARGV[n + 1])
end
-- A minute late: a node's clock may be behind.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - 60))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[2]) - 1)
redis.call('SET', KEYS[2], ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
local forgotten = string.format('%.0f', math.max(now, tonumber(last or now)) + 3600)
redis.call('EXPIREAT', KEYS[1], forgotten)
redis.call('EXPIREAT', KEYS[2], forgotten)
return redis.status_reply('OK')
