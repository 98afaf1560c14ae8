-- What has come since a follower last heard; and where a new one begins.
--
-- KEYS: the log, its stream, its expiries
-- ARGV: now, oldest time kept, publications kept, time to live of the log, an epoch for a new one,
--       epoch and offset the follower has ("" and 0: none yet), entries to answer with, bytes
-- Answers {epoch, head, floor, clears, cleared, forks, the id of the entry it has (of the newest,
--          where it has none yet) or "",
--          more (0 or 1), offset, entry, offset, entry, …}.
local now = tonumber(ARGV[1])
local log = open(ARGV[5], now, tonumber(ARGV[2]), tonumber(ARGV[3]))
save(log, now, tonumber(ARGV[4]))
local answer = {log.epoch, whole(log.head), whole(log.floor), log.clears, whole(log.cleared),
  log.forks, '', 0}

-- The id of the entry with this offset; "" where there is none.
local function id_at(offset)
  local entry = redis.call('XRANGE', log.stream, whole(offset), whole(offset))[1]
  if not entry then
    return ''
  end
  local length, rest = string.match(entry[2][2], '^%d+ %d+ %d+ (%d+) [^\n]*()')
  return string.sub(entry[2][2], rest + 1, rest + tonumber(length))
end

if ARGV[6] == '' then
  answer[7] = id_at(log.head)
  return answer
end

local after, limit, bytes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
if ARGV[6] ~= log.epoch then
  -- Of another log: it goes on where that was still this one, or from the beginning.
  after = math.min(after, tonumber(string.match(' ' .. log.forks, ' ' .. ARGV[6] .. ':(%d+)') or 0))
else
  answer[7] = id_at(after)
end
local from = '(' .. whole(after)
if limit == 0 then
  return answer
end
while true do
  local entries = redis.call('XRANGE', log.stream, from, '+', 'COUNT', STRIDE)
  for _, entry in ipairs(entries) do
    if limit == 0 or bytes <= 0 then
      answer[8] = 1
      return answer
    end
    answer[#answer + 1] = string.match(entry[1], '^%d+')
    answer[#answer + 1] = entry[2][2]
    limit, bytes = limit - 1, bytes - #entry[2][2]
    from = '(' .. entry[1]
  end
  if #entries < STRIDE then
    return answer
  end
end
