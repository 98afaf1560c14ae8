-- Delete a channel's history, and ring.
--
-- KEYS: the log, its stream, its expiries, the key of this call
-- ARGV: now, oldest time kept, publications kept, time to live of the log, doorbell,
--       PUBLISH or SPUBLISH, time to live of the key
-- Answers how many publications that were; sent again, what it answered first.
local known = redis.call('GET', KEYS[4])
if known then
  return tonumber(known)
end
local log = load(KEYS[1], KEYS[2], KEYS[3])
if not log or log.head == 0 then
  return 0
end
local now = tonumber(ARGV[1])
trim(log, now, tonumber(ARGV[2]), tonumber(ARGV[3]))
local count = log.count
if count > 0 then
  local newest = redis.call('XREVRANGE', log.stream, '+', '-', 'COUNT', 1)[1]
  log.floor, log.floor_ms = offset_of(newest[1]), facts(newest[2][2])
  redis.call('XTRIM', log.stream, 'MAXLEN', 0)
end
redis.call('DEL', log.expiries)
log.count, log.size, log.first_ms, log.expires = 0, 0, 0, false
log.clears, log.cleared, log.changed = log.clears + 1, log.head, true
save(log, now, tonumber(ARGV[4]))
redis.call(ARGV[6], ARGV[5],
  'c ' .. log.epoch .. ' ' .. whole(log.head) .. ' ' .. string.format('%d', log.clears) .. '\n')
redis.call('SET', KEYS[4], count, 'PX', ARGV[7])
return count
