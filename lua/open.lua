-- Opens a shard in an epoch: a step of the fence, after which the shard is served once the scripts are loaded.
-- KEYS: meta journal
-- ARGV: epoch posted schema [ledger_id mark]
-- RETURNS: OPEN
-- ERRORS: AHEAD, when the shard has already been opened in a later epoch; FOREIGN, when it belongs to another
--         ledger; ELSEWHERE, when the closing of this mark did not happen here; NARROW, on a server with short integers
-- USES:
-- FLAGS: allow-oom
-- COST: O(1)
if string.format('%d', 9007199254740991) ~= '9007199254740991' then
  return redis.error_reply('NARROW this server counts in fewer than 64 bits')
end
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'last_ms', 'closed', 'ledger', 'closing')
if ARGV[4] and meta[4] and meta[4] ~= ARGV[4] then
  return redis.error_reply('FOREIGN the shard belongs to ledger ' .. meta[4])
end
if ARGV[5] and meta[5] ~= ARGV[5] then
  return redis.error_reply('ELSEWHERE the shard was closed on another server, or this one has forgotten it')
end
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then
  return redis.error_reply('AHEAD the shard is open in epoch ' .. meta[1])
end
-- A shard that stays in its epoch keeps its mark: the flusher moves it only after settled holds were let go.
if (meta[1] or meta[3]) ~= ARGV[1] then redis.call('HSET', KEYS[1], 'posted', ARGV[2]) end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'schema', ARGV[3], 'last_ms', meta[2] or '0')
if ARGV[4] then redis.call('HSET', KEYS[1], 'ledger', ARGV[4]) end
redis.call('HDEL', KEYS[1], 'closed', 'closing')
return {'OPEN'}
