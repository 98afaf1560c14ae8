-- What there is of a channel.
--
-- KEYS: the log, its stream, its expiries
-- ARGV: now, oldest time kept, publications kept
-- To be looked at is no use: its time to live is not renewed.
-- Answers {epoch, head, publications, bytes, time of the newest or ""}, or 0: there is no log.
local log = load(KEYS[1], KEYS[2], KEYS[3])
if not log then
  return 0
end
local now = tonumber(ARGV[1])
trim(log, now, tonumber(ARGV[2]), tonumber(ARGV[3]))
write(log)
local newest = redis.call('XREVRANGE', log.stream, '+', '-', 'COUNT', 1)
local time = newest[1] and whole(facts(newest[1][2][2])) or ''
return {log.epoch, whole(log.head), log.count, whole(log.size), time}
