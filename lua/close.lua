-- Closes a shard: a step of the fence, from which on nothing is decided in its epoch.
-- KEYS: meta
-- ARGV: mark
-- RETURNS: CLOSED
-- ERRORS: none
-- USES:
-- FLAGS: allow-oom
-- COST: O(1)
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch then redis.call('HSET', KEYS[1], 'closed', epoch) end
redis.call('HSET', KEYS[1], 'closing', ARGV[1])
redis.call('HDEL', KEYS[1], 'epoch')
return {'CLOSED'}
