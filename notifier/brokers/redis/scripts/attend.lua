-- Say who follows a channel on one node.
--
-- KEYS: the channel's attendances, a hash by node; its name is that of their doorbell too
-- ARGV: node; its attendance, '' for nobody; PUBLISH or SPUBLISH, '' where nobody is to hear it;
--   1: ring also if it is no news; milliseconds after which one that was not repeated is forgotten
-- An attendance is kept with the time it was last written. The field 'v' counts the changes, so
-- that who hears of them knows whether it has missed one.
local here, node, attendance, verb = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local before = redis.call('HGET', here, node)
if attendance == '' and not before then
  return 0
end
local news = not before or string.match(before, '^%d+ (.*)$') ~= attendance
if attendance == '' then
  redis.call('HDEL', here, node)
else
  redis.call('HSET', here, node, string.format('%.0f ', now) .. attendance)
end
if not news and ARGV[4] ~= '1' then
  -- It is only repeated: the time to look for those that nobody repeats any more.
  local all = redis.call('HGETALL', here)
  for n = 1, #all, 2 do
    local written = string.match(all[n + 1], '^(%d+) ')
    if written and tonumber(written) + tonumber(ARGV[5]) < now then
      redis.call('HDEL', here, all[n])
    end
  end
  redis.call('PEXPIRE', here, ARGV[5])
  return 0
end
local version = redis.call('HINCRBY', here, 'v', 1)
if redis.call('HLEN', here) == 1 then
  redis.call('DEL', here)
else
  redis.call('PEXPIRE', here, ARGV[5])
end
if verb ~= '' then
  redis.call(verb, here, string.format('%.0f', version) .. ' ' .. node .. ' ' .. attendance)
end
return 1
