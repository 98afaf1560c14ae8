-- Ring a doorbell, whichever shard it is on.
--
-- KEYS: the doorbell
-- ARGV: PUBLISH or SPUBLISH, the message
return redis.call(ARGV[1], KEYS[1], ARGV[2])
