-- Opens a shard in an epoch: a step of the fence, after which the shard is served once the scripts are loaded.
-- KEYS: meta journal
-- ARGV: epoch posted schema
-- RETURNS: OPEN
-- ERRORS: AHEAD, when the shard has already been opened in a later epoch; NARROW, on a server with short integers
-- USES:
-- FLAGS: allow-oom
-- COST: O(1)
if string.format('%d', 9007199254740991) ~= '9007199254740991' then
  return redis.error_reply('NARROW this server counts in fewer than 64 bits')
end
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'last_ms')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then
  return redis.error_reply('AHEAD the shard is open in epoch ' .. meta[1])
end
-- A shard that stays in its epoch keeps its mark: the flusher moves it only after settled holds were let go.
if meta[1] ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'posted', ARGV[2], 'schema', ARGV[3], 'last_ms', meta[2] or '0')
end
return {'OPEN'}
