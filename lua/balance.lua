-- Reads one account, after returning to it what has expired.
-- KEYS: meta journal due
-- ARGV: epoch at namespace account
-- RETURNS: BALANCE posted balance reserved now | STALE | LOAD | AGAIN | DUE
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard accounts expiry due decide write
-- FLAGS: allow-oom
-- COST: O(1), and O(log n) for each expired hold of the account
--@guard
--@accounts
local account, body, seen = touch(ARGV[3], ARGV[4]), '', nil
--@expiry
--@due
--@decide
answer = answer or {'BALANCE', posted, account.balance_text, account.reserved_text, now_text}
--@write
