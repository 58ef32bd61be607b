-- Writes behind all that the shard's journal holds: whoever waits for this write waits for all of that.
-- KEYS: meta journal
-- ARGV: epoch at
-- RETURNS: MARKED posted last | STALE
-- ERRORS: none
-- USES: guard
-- FLAGS: allow-oom
-- COST: O(1)
--@guard
local rows = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local last = rows[1] and rows[1][1]
if not last or string.match(last, '^%d+') ~= ARGV[1] then last = ARGV[1] .. '-' .. posted end
-- WAIT and WAITAOF look at writes of their own connection: after none they answer at once, whatever is missing.
call('HSET', KEYS[1], 'mark', now_text)
return {'MARKED', posted, last}
