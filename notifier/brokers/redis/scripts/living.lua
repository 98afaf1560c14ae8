-- The nodes that live.
--
-- KEYS: the nodes, a sorted set by when they count as dead; what they say of themselves, a hash
-- Answers {node, what it says, …}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found = {}
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', now), '+inf')) do
  found[#found + 1] = node
  found[#found + 1] = redis.call('HGET', KEYS[2], node) or ''
end
return found
