-- Begin a new epoch: what this Redis has is not the log that somebody has seen (it was rolled
-- back by a failover, or restored). Offsets go on, and it is kept up to where both are the same.
--
-- KEYS: the log, its stream, its expiries
-- ARGV: now, time to live of the log, the epoch that was seen, the new epoch, offset up to which
--       they are the same, doorbell, PUBLISH or SPUBLISH
-- Answers the epoch there is now; nothing changes where it is another one already.
local log = load(KEYS[1], KEYS[2], KEYS[3])
if not log or log.epoch ~= ARGV[3] then
  return log and log.epoch or ''
end
-- What was the same log further than that is so no more.
local common = tonumber(ARGV[5])
local forks = string.gsub(log.forks, ':(%d+)', function(offset)
  return ':' .. whole(math.min(tonumber(offset), common))
end)
-- The oldest are forgotten, one by one as a whole.
log.forks = ARGV[3] .. ':' .. whole(common) .. ' ' .. forks
if #log.forks > 500 then
  log.forks = string.match(string.sub(log.forks, 1, 500), '^(.*) ')
end
log.epoch, log.changed = ARGV[4], true
save(log, tonumber(ARGV[1]), tonumber(ARGV[2]))
redis.call(ARGV[7], ARGV[6], 'l\n')
return log.epoch
