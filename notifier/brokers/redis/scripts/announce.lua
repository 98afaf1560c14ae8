-- Announce a publication of an ephemeral channel, once per idempotency key.
--
-- KEYS: the idempotency key
-- ARGV: now, fingerprint, time to live of the key, doorbell, id, entry
-- Answers {"new" | "repeat", id} or {"conflict"}.
local now = tonumber(ARGV[1])
local known = redis.call('GET', KEYS[1])
if known then
  local ends, fingerprint, id = string.match(known, '^(%d+) (%S+) (.*)$')
  if tonumber(ends) > now then
    if fingerprint ~= ARGV[2] then
      return {'conflict'}
    end
    return {'repeat', id}
  end
end
redis.call('SET', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])) .. ' ' .. ARGV[2] .. ' '
  .. ARGV[5], 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[6])
return {'new', ARGV[5]}
