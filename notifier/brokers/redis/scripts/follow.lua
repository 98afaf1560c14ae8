-- What has come since a follower last heard; and where a new one begins.
--
-- KEYS: the log, its stream
-- ARGV: now, oldest time kept, publications kept, time to live of the log, an epoch for a new one,
--       epoch and offset the follower has ("" and 0: none yet), entries to answer with, bytes
-- Answers {epoch, head, floor, clears, cleared, forks, the id of the entry it has or "",
--          more (0 or 1), offset, entry, offset, entry, …}.
local now = tonumber(ARGV[1])
local log = open(KEYS[1], KEYS[2], ARGV[5], now, tonumber(ARGV[2]), tonumber(ARGV[3]))
save(log, now, tonumber(ARGV[4]))
local answer = {log.epoch, whole(log.head), whole(log.floor), log.clears, whole(log.cleared),
  log.forks, '', 0}
if ARGV[6] == '' then
  return answer
end

local after, limit, bytes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
if ARGV[6] ~= log.epoch then
  -- Of another log: it goes on where that was still this one, or from the beginning.
  after = math.min(after, tonumber(string.match(' ' .. log.forks, ' ' .. ARGV[6] .. ':(%d+)') or 0))
else
  local own = redis.call('XRANGE', log.stream, whole(after), whole(after))[1]
  if own then
    local blob = own[2][2]
    local length, rest = string.match(blob, '^%d+ %d+ %d+ (%d+) [^\n]*()')
    answer[7] = string.sub(blob, rest + 1, rest + tonumber(length))
  end
end
local from = '(' .. whole(after)
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
