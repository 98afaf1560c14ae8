-- What all scripts about one channel's log begin with.
--
-- The log is a hash beside a stream:
--   epoch     its tag
--   head      offset of the newest publication; 0 before the first
--   floor     offset of the newest one lost by trimming; all after it are in the stream, but for
--             those that expired by their own `expires`
--   floor_ms  when that one was published
--   count     entries of the stream, and
--   size      bytes they are reckoned at
--   first_ms  when the oldest entry was published
--   expiry    when the next entry expires by itself; 0: none will
--   clears    how often history was deleted, and
--   cleared   the head when it last was
--   forks     earlier epochs and the offset up to which they were the same log: "e1:40 e2:77"
--   used      when its keys' time to live was last renewed
-- An entry has the offset as its id and one field, the bytes of entry.py:
--   "<time_ms> <expires_ms or 0> <size> <bytes of the id> <bytes of the key, or ->\n<id><key><body>"

-- What a log without publications lives when nobody renews it.
local VIRGIN_MS = 3600000
-- How often the time to live is renewed, at the most.
local RENEW_MS = 3600000
local DAY_MS = 86400000
-- Entries looked at in one go.
local STRIDE = 100

local function whole(number)
  return string.format('%.0f', number)
end

local function facts(blob)
  local time, expires, size = string.match(blob, '^(%d+) (%d+) (%d+) ')
  return tonumber(time), tonumber(expires), tonumber(size)
end

local function offset_of(id)
  return tonumber(string.match(id, '^(%d+)'))
end

-- The log, or nil where there is none.
local function load(log_key, stream_key)
  local f = redis.call('HMGET', log_key, 'epoch', 'head', 'floor', 'floor_ms', 'count', 'size',
    'first_ms', 'expiry', 'clears', 'cleared', 'forks', 'used')
  if not f[1] then
    return nil
  end
  local log = {
    key = log_key, stream = stream_key, epoch = f[1], head = tonumber(f[2]), floor = tonumber(f[3]),
    floor_ms = tonumber(f[4]), count = tonumber(f[5]), size = tonumber(f[6]),
    first_ms = tonumber(f[7]), expiry = tonumber(f[8]), clears = tonumber(f[9]),
    cleared = tonumber(f[10]), forks = f[11] or '', used = tonumber(f[12]),
  }
  if log.count > 0 and redis.call('EXISTS', stream_key) == 0 then
    -- Redis evicted the stream: all of it is lost, and must be known to be.
    log.floor, log.floor_ms = log.head, log.first_ms
    log.count, log.size, log.expiry, log.changed = 0, 0, 0, true
  end
  return log
end

local function create(log_key, stream_key, epoch)
  redis.call('DEL', stream_key)
  return {
    key = log_key, stream = stream_key, epoch = epoch, head = 0, floor = 0, floor_ms = 0,
    count = 0, size = 0, first_ms = 0, expiry = 0, clears = 0, cleared = 0, forks = '',
    used = 0, changed = true,
  }
end

-- Write it back, and renew its time to live if that is due.
local function save(log, now, keep_ms)
  local due = now - log.used > RENEW_MS or log.used > now
  if due then
    log.used = now
  end
  if log.grown and not log.changed and not due then
    redis.call('HSET', log.key, 'head', whole(log.head), 'count', log.count,
      'size', whole(log.size))
  elseif log.grown or log.changed or due then
    redis.call('HSET', log.key, 'epoch', log.epoch, 'head', whole(log.head),
      'floor', whole(log.floor), 'floor_ms', whole(log.floor_ms), 'count', log.count,
      'size', whole(log.size), 'first_ms', whole(log.first_ms), 'expiry', whole(log.expiry),
      'clears', log.clears, 'cleared', whole(log.cleared), 'forks', log.forks,
      'used', whole(log.used))
  end
  if due or log.renew then
    if log.head == 0 then
      redis.call('PEXPIRE', log.key, VIRGIN_MS + RENEW_MS)
    else
      redis.call('PEXPIRE', log.key, whole(keep_ms + RENEW_MS))
      -- Later than the log itself: a log whose stream is gone has lost it.
      redis.call('PEXPIRE', log.stream, whole(keep_ms + RENEW_MS + DAY_MS))
    end
  end
end

-- Let go of what time has run out for.
local function drop_expired(log, now)
  if log.expiry == 0 or log.expiry > now then
    return
  end
  local next_expiry, from = 0, '-'
  repeat
    local entries = redis.call('XRANGE', log.stream, from, '+', 'COUNT', STRIDE)
    for _, entry in ipairs(entries) do
      local _, expires, size = facts(entry[2][2])
      if expires > 0 and expires <= now then
        redis.call('XDEL', log.stream, entry[1])
        log.count, log.size = log.count - 1, log.size - size
      elseif expires > 0 and (next_expiry == 0 or expires < next_expiry) then
        next_expiry = expires
      end
      from = '(' .. entry[1]
    end
  until #entries < STRIDE
  log.expiry, log.changed = next_expiry, true
end

-- Who reads trims exactly. Who writes does it for some at once, when so many, or as old by so
-- much, are beyond what is kept: that costs a fraction, and nobody sees the difference.
local SLACK = 64
local SLACK_MS = 60000

-- Trim by count and by age. Those that expired by themselves go first: trimmed, they would count
-- as lost.
local function trim(log, now, oldest, most)
  drop_expired(log, now)
  while log.count > most or (log.count > 0 and log.first_ms <= oldest) do
    log.changed = true
    -- What is beyond the last that is looked at shows in the next round.
    log.first_ms = 0
    local entries = redis.call('XRANGE', log.stream, '-', '+', 'COUNT',
      math.min(math.max(log.count - most, 1), STRIDE) + 1)
    for _, entry in ipairs(entries) do
      local time, _, size = facts(entry[2][2])
      if log.count <= most and time > oldest then
        log.first_ms = time
        break
      end
      log.floor, log.floor_ms = offset_of(entry[1]), time
      log.count, log.size = log.count - 1, log.size - size
    end
    redis.call('XTRIM', log.stream, 'MINID', whole(log.floor + 1))
  end
end

local function trim_if_worthwhile(log, now, oldest, most)
  if log.count > most + SLACK or (log.count > 0 and log.first_ms <= oldest - SLACK_MS) then
    trim(log, now, oldest, most)
  end
end

-- The log as it is now, made if need be.
local function open(log_key, stream_key, epoch, now, oldest, most)
  local log = load(log_key, stream_key)
  if not log then
    return create(log_key, stream_key, epoch)
  end
  trim(log, now, oldest, most)
  return log
end
