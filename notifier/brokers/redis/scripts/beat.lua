-- Give a sign of life, and see who else has.
--
-- KEYS: the nodes, a sorted set by when they count as dead; what they say of themselves, a hash
-- ARGV: node, what it says, milliseconds it is good for
-- Answers {1: it was not among the living, else 0; all the living}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now))
for _, node in ipairs(dead) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('HDEL', KEYS[2], node)
end
local new = redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return {new, unpack(redis.call('ZRANGE', KEYS[1], 0, -1))}
