-- What all scripts about one channel's log begin with.
--
-- The log is a hash beside a stream, and a sorted set of what expires by itself (offset, when):
--   epoch     its tag
--   head      offset of the newest publication; 0 before the first
--   floor     offset of the newest one lost by trimming; all after it are in the stream, but for
--             those that expired by their own `expires`
--   floor_ms  when that one was published
--   count     entries of the stream, and
--   size      bytes they are reckoned at
--   first_ms  when the oldest entry was published
--   clears    how often history was deleted, and
--   cleared   the head when it last was
--   forks     earlier epochs and the offset up to which they were the same log: "e1:40 e2:77"
--   used      when its keys' time to live was last renewed
-- An entry has the offset as its id and one field, the bytes of entry.py:
--   "<time_ms> <expires_ms or 0> <size> <bytes of the id> <bytes of the key, or ->\n<id><key><body>"

-- What a log without publications lives when nobody renews it: every reader can make one.
local VIRGIN_MS = 600000
-- How often the time to live is renewed, at the most.
local RENEW_MS = 3600000
local RENEW_VIRGIN_MS = 240000
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
local function load(log_key, stream_key, expiries_key)
  local f = redis.call('HMGET', log_key, 'epoch', 'head', 'floor', 'floor_ms', 'count', 'size',
    'first_ms', 'clears', 'cleared', 'forks', 'used', 'expires')
  if not f[1] then
    return nil
  end
  local log = {
    key = log_key, stream = stream_key, expiries = expiries_key, epoch = f[1],
    head = tonumber(f[2]), floor = tonumber(f[3]), floor_ms = tonumber(f[4]),
    count = tonumber(f[5]), size = tonumber(f[6]), first_ms = tonumber(f[7]),
    clears = tonumber(f[8]), cleared = tonumber(f[9]), forks = f[10] or '', used = tonumber(f[11]),
    expires = f[12] == '1',
  }
  if log.count > 0 and redis.call('EXISTS', stream_key) == 0 then
    -- Redis evicted the stream: all of it is lost, and must be known to be.
    log.floor, log.floor_ms = log.head, log.first_ms
    log.count, log.size, log.changed = 0, 0, true
  end
  return log
end

local function create(log_key, stream_key, expiries_key, epoch)
  redis.call('DEL', stream_key, expiries_key)
  return {
    key = log_key, stream = stream_key, expiries = expiries_key, epoch = epoch, head = 0,
    floor = 0, floor_ms = 0, count = 0, size = 0, first_ms = 0, clears = 0, cleared = 0,
    forks = '', used = 0, expires = false, changed = true,
  }
end

-- Whether Redis takes writes. When it is full, who reads is not to fail for what there is to tidy.
local function writable(log)
  if log.writable == nil then
    local answer = redis.pcall('HSET', log.key, 'used', whole(log.used))
    log.writable = type(answer) ~= 'table' or not answer.err
  end
  return log.writable
end

-- Write back what has changed.
local function write(log)
  if log.grown and not log.changed then
    redis.call('HSET', log.key, 'head', whole(log.head), 'count', log.count,
      'size', whole(log.size))
  elseif log.grown or log.changed then
    redis.call('HSET', log.key, 'epoch', log.epoch, 'head', whole(log.head),
      'floor', whole(log.floor), 'floor_ms', whole(log.floor_ms), 'count', log.count,
      'size', whole(log.size), 'first_ms', whole(log.first_ms), 'clears', log.clears,
      'cleared', whole(log.cleared), 'forks', log.forks, 'used', whole(log.used),
      'expires', log.expires and '1' or '0')
  end
end

-- Write it back, and renew its time to live if that is due.
local function save(log, now, keep_ms)
  local age = now - log.used
  local due = age < 0 or age > (log.head == 0 and RENEW_VIRGIN_MS or RENEW_MS)
  if (due or log.changed) and not log.grown and log.used > 0 and not writable(log) then
    return
  end
  if due then
    log.used, log.changed = now, true
  end
  write(log)
  if due or log.renew then
    if log.head == 0 then
      redis.call('PEXPIRE', log.key, VIRGIN_MS)
    else
      redis.call('PEXPIRE', log.key, whole(keep_ms + RENEW_MS))
      -- Later than the log itself: a log whose stream is gone has lost it.
      redis.call('PEXPIRE', log.stream, whole(keep_ms + RENEW_MS + DAY_MS))
      redis.call('PEXPIRE', log.expiries, whole(keep_ms + RENEW_MS + DAY_MS))
    end
  end
end

-- Let go of what expired by itself: holes, and no loss.
local function drop_expired(log, now)
  while log.expires do
    local due = redis.call('ZRANGEBYSCORE', log.expiries, '-inf', whole(now), 'LIMIT', 0, STRIDE)
    if #due == 0 or not writable(log) then
      return
    end
    for _, offset in ipairs(due) do
      local entry = redis.call('XRANGE', log.stream, offset, offset)[1]
      if entry then
        local _, _, size = facts(entry[2][2])
        redis.call('XDEL', log.stream, entry[1])
        log.count, log.size, log.changed = log.count - 1, log.size - size, true
      end
      redis.call('ZREM', log.expiries, offset)
    end
    log.expires = redis.call('EXISTS', log.expiries) == 1
    log.changed = true
  end
end

-- Who reads trims exactly. Who writes does it for some at once, when so many, or as old by so
-- much, are beyond what is kept: that costs a fraction, and nobody sees the difference.
local SLACK = 64
local SLACK_MS = 60000

-- Trim by count and by age. Those that expired by themselves go first: trimmed, they would count
-- as lost.
local function trim(log, now, oldest, most)
  drop_expired(log, now)
  if log.count == 0 or (log.count <= most and log.first_ms > oldest) or not writable(log) then
    return
  end
  log.changed = true
  local newest = redis.call('XREVRANGE', log.stream, '+', '-', 'COUNT', 1)[1]
  if newest and facts(newest[2][2]) <= oldest then
    -- All of it at once, however much that is.
    log.floor, log.floor_ms = offset_of(newest[1]), facts(newest[2][2])
    log.count, log.size, log.first_ms, log.expires = 0, 0, 0, false
    redis.call('XTRIM', log.stream, 'MAXLEN', 0)
    redis.call('DEL', log.expiries)
    return
  end
  while log.count > most or (log.count > 0 and log.first_ms <= oldest) do
    -- What is beyond the last that is looked at shows in the next round.
    local entries = redis.call('XRANGE', log.stream, '-', '+', 'COUNT',
      math.min(math.max(log.count - most + 1, log.first_ms <= oldest and STRIDE or 2), STRIDE))
    if #entries == 0 then
      -- Somebody else has been at it.
      log.count, log.size = 0, 0
      return
    end
    log.first_ms = 0
    for _, entry in ipairs(entries) do
      local time, expires, size = facts(entry[2][2])
      if log.count <= most and time > oldest then
        log.first_ms = time
        break
      end
      log.floor, log.floor_ms = offset_of(entry[1]), time
      log.count, log.size = log.count - 1, log.size - size
      if expires > 0 then
        redis.call('ZREM', log.expiries, whole(log.floor))
      end
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
local function open(epoch, now, oldest, most)
  local log = load(KEYS[1], KEYS[2], KEYS[3])
  if not log then
    return create(KEYS[1], KEYS[2], KEYS[3], epoch)
  end
  trim(log, now, oldest, most)
  return log
end
