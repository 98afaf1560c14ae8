-- A page of a channel's history.
--
-- KEYS: the log, its stream, its expiries
-- ARGV: now, oldest time kept, publications kept, time to live of the log, an epoch for a new one,
--       since: one of latest, all, after, time, last; epoch and offset for after, and 0 and a
--       number for time (milliseconds) and last,
--       before: epoch and offset, or "" and 0; 1 for the newest first; the key, or "" for all, with
--       a 1 before it if it is one; limit; bytes
-- Answers {epoch, head, floor, floor_ms, start, gap (0 or 1), the offset the gap ends before,
--          more (0 or 1), offset, entry, …}, or {"foreign"}: before is of another epoch.
local now = tonumber(ARGV[1])
local log = open(ARGV[5], now, tonumber(ARGV[2]), tonumber(ARGV[3]))
save(log, now, tonumber(ARGV[4]))

-- Entries one after another, by XRANGE up to the end "+", or by XREVRANGE down to "-":
-- call(offset, entry) until it answers true.
local function walk(command, from, stop, call)
  while true do
    local entries = redis.call(command, log.stream, from, stop, 'COUNT', STRIDE)
    for _, entry in ipairs(entries) do
      if call(offset_of(entry[1]), entry[2][2]) then
        return true
      end
      from = '(' .. entry[1]
    end
    if #entries < STRIDE then
      return false
    end
  end
end

local function each(from, call)
  return walk('XRANGE', from, '+', call)
end

local function each_backwards(from, call)
  return walk('XREVRANGE', from, '-', call)
end

-- Where since lands: the offset before the first that is wanted, and whether some are missing.
local function landing(kind, epoch, number)
  if kind == 'latest' then
    return log.head, 0
  elseif kind == 'all' then
    return log.floor, 0
  elseif kind == 'after' then
    if epoch ~= log.epoch then
      -- Of an earlier epoch it goes on where that was still this log. What came after was lost,
      -- also to who was not there yet: a gap.
      local fork = tonumber(string.match(' ' .. log.forks, ' ' .. epoch .. ':(%d+)') or 0)
      return math.max(math.min(number, fork), log.floor), 1
    elseif number > log.head then
      -- Nobody was given this position by this log.
      return log.head, 1
    end
    if number < log.floor then
      return log.floor, 1
    end
    return number, 0
  elseif kind == 'time' then
    if log.floor > 0 and log.floor_ms >= number then
      return log.floor, 1
    end
    -- By halves: of a long history not all can be looked at.
    local low, high = log.floor, log.head
    while low < high do
      local middle = math.floor((low + high) / 2)
      local entry = redis.call('XRANGE', log.stream, whole(middle + 1), '+', 'COUNT', 1)[1]
      if not entry or facts(entry[2][2]) >= number then
        high = middle
      else
        low = offset_of(entry[1])
      end
    end
    local entry = redis.call('XRANGE', log.stream, whole(low + 1), '+', 'COUNT', 1)[1]
    return entry and low or log.head, 0
  end
  if number >= log.count then
    return log.floor, log.floor > 0 and number > log.count and 1 or 0
  elseif log.head - log.floor == log.count then
    return log.head - number, 0  -- without holes they need not be looked at
  end
  local start, left = log.head, number
  each_backwards('+', function(offset)
    start, left = offset - 1, left - 1
    return left == 0
  end)
  return start, 0
end

if ARGV[9] ~= '' and ARGV[9] ~= log.epoch then
  return {'foreign'}
end
local start, gap = landing(ARGV[6], ARGV[7], tonumber(ARGV[8]))
local resumes = log.head + 1
if gap == 1 and start < log.head then
  each('(' .. whole(start), function(offset)
    resumes = offset
    return true
  end)
end
local answer = {log.epoch, whole(log.head), whole(log.floor), whole(log.floor_ms), whole(start),
  gap, whole(resumes), 0}

local stop = ARGV[9] ~= '' and tonumber(ARGV[10]) or log.head + 1
local limit, bytes = tonumber(ARGV[13]), tonumber(ARGV[14])
local key = string.sub(ARGV[12], 1, 1) == '1' and string.sub(ARGV[12], 2) or nil
local size_of_page = 0

local function take(offset, entry)
  if key then
    local id_length, key_length, rest = string.match(entry, '^%d+ %d+ %d+ (%d+) (%S+)()')
    if key_length == '-' then
      return false
    end
    local from = rest + 1 + tonumber(id_length)
    if string.sub(entry, from, from + tonumber(key_length) - 1) ~= key then
      return false
    end
  end
  local _, _, size = facts(entry)
  if limit == 0 or (size_of_page > 0 and size_of_page + size > bytes) then
    answer[8] = 1
    return true
  end
  limit, size_of_page = limit - 1, size_of_page + size
  answer[#answer + 1] = whole(offset)
  answer[#answer + 1] = entry
  return false
end

if ARGV[11] == '1' then
  if stop > 0 then
    each_backwards(whole(math.min(stop, log.head + 1) - 1), function(offset, entry)
      return offset <= start or take(offset, entry)
    end)
  end
else
  each('(' .. whole(start), function(offset, entry)
    return offset >= stop or take(offset, entry)
  end)
end
return answer
