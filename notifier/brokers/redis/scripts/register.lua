-- Make it known that a channel is about to be published to.
--
-- KEYS: the names of all channels, the births
-- ARGV: channel, epoch, channels there may be, births kept, doorbell of births,
--       PUBLISH or SPUBLISH
-- Answers 1, or 0: it would be one too many.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
    return 0
  end
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'c', ARGV[1], 'e', ARGV[2])
redis.call(ARGV[6], ARGV[5], 'b')
return 1
