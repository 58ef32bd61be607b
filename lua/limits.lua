-- Reads the limits of one account with what is used of them, after returning to it what has expired.
-- KEYS: meta journal due
-- ARGV: epoch at namespace account
-- RETURNS: LIMITS posted now open limits | STALE | LOAD | AGAIN
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard accounts expiry decide write
-- FLAGS: allow-oom
-- COST: O(log n) for n open holds, and for each expired hold of the account
--@guard
--@accounts
local account, body, seen = touch(ARGV[3], ARGV[4]), '', nil
--@expiry
--@decide
local open = call('ZCOUNT', prefix .. 'holds:' .. account.path, text(now + 1), '+inf')
answer = answer or {'LIMITS', posted, now_text, text(open), account.limits or ''}
--@write
