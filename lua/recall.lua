-- Puts a settled or unknown hold back into Redis for a while, so that asking again costs the ledger nothing.
-- KEYS: meta journal due hold
-- ARGV: epoch at namespace ticket keep_ms status [terms settled_ms late consumed body]
-- RETURNS: INSTALLED posted | LATE posted | STALE
-- ERRORS: none
-- USES: guard young ticket
-- COST: O(1)
--@guard
--@young
--@ticket
if call('EXISTS', KEYS[4]) == 1 then return {'INSTALLED', posted} end
call('HSET', KEYS[4], 'status', ARGV[6])
if ARGV[7] then
  call('HSET', KEYS[4], 'terms', ARGV[7], 'settled_ms', ARGV[8], 'late', ARGV[9], 'consumed', ARGV[10],
    'body', ARGV[11])
end
call('PEXPIRE', KEYS[4], ARGV[5])
return {'INSTALLED', posted}
