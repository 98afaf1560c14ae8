-- Give a publication its offset, store it and ring: all of it or nothing.
--
-- KEYS: the log, its stream, its expiries, the idempotency key
-- ARGV: now, oldest time kept, publications kept, time to live of the log, an epoch for a new one,
--       the epoch under which the channel is registered, fingerprint, time to live of the key,
--       doorbell, PUBLISH or SPUBLISH, id, entry, its time, its expiry, its size
-- Answers {"new" | "repeat", epoch, offset, id}, {"conflict"}, or {"unborn", epoch}: a channel that
-- has no publications is to be registered first, so that none can be stored that nobody can find.
local now = tonumber(ARGV[1])

local known = redis.call('GET', KEYS[4])
if known then
  local ends, epoch, offset, fingerprint, id =
    string.match(known, '^(%d+) (%w+) (%d+) (%S+) (.*)$')
  if tonumber(ends) > now then
    if fingerprint ~= ARGV[7] then
      return {'conflict'}
    end
    -- A write of this connection, for WAIT to wait for.
    redis.call('SET', KEYS[4], known, 'KEEPTTL')
    return {'repeat', epoch, offset, id}
  end
end

local log = load(KEYS[1], KEYS[2], KEYS[3]) or create(KEYS[1], KEYS[2], KEYS[3], ARGV[5])
if log.head == 0 and log.epoch ~= ARGV[6] then
  save(log, now, tonumber(ARGV[4]))
  return {'unborn', log.epoch}
end

local time, expires = tonumber(ARGV[13]), tonumber(ARGV[14])
log.renew = log.head == 0
log.head = log.head + 1
local offset = whole(log.head)
redis.call('XADD', log.stream, offset .. '-0', 'p', ARGV[12])
if log.count == 0 then
  log.first_ms, log.changed = time, true
end
log.count, log.size, log.grown = log.count + 1, log.size + tonumber(ARGV[15]), true
if expires > 0 then
  redis.call('ZADD', log.expiries, whole(expires), offset)
  if not log.expires then
    redis.call('PEXPIRE', log.expiries, whole(tonumber(ARGV[4]) + RENEW_MS + DAY_MS))
    log.expires, log.changed = true, true
  end
end
trim_if_worthwhile(log, now, tonumber(ARGV[2]), tonumber(ARGV[3]))
save(log, now, tonumber(ARGV[4]))

redis.call('SET', KEYS[4], string.format('%.0f', now + tonumber(ARGV[8])) .. ' ' .. log.epoch .. ' '
  .. offset .. ' ' .. ARGV[7] .. ' ' .. ARGV[11], 'PX', ARGV[8])
redis.call(ARGV[10], ARGV[9], 'p ' .. log.epoch .. ' ' .. offset .. '\n' .. ARGV[12])
return {'new', log.epoch, offset, ARGV[11]}
