-- Opens a shard in an epoch: the last step of the fence, and the only one after which anything is served.
-- KEYS: meta journal
-- ARGV: epoch posted schema
-- RETURNS: OPEN
-- ERRORS: AHEAD, when the shard has already been opened in a later epoch
-- USES:
-- COST: O(1)
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'last_ms')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then
  return redis.error_reply('AHEAD the shard is open in epoch ' .. meta[1])
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'posted', ARGV[2], 'schema', ARGV[3],
  'last_ms', meta[1] == ARGV[1] and meta[2] or '0')
return {'OPEN'}
