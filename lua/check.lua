-- Decides what a reserve of the same legs would be told, and holds nothing.
-- KEYS: meta journal due
-- ARGV: epoch at namespace (account amount)...
-- RETURNS: FITS posted (balance reserved)... | STALE | LOAD | AGAIN | DUE
--          | DENIED posted leg account balance reserved available needed wait_ms reason limit (balance reserved)...
-- ERRORS: LEGS, when an account is named twice; XADD refuses an epoch that has been left
-- USES: guard accounts legs expiry due decide fit flow spend deny write
-- FLAGS: allow-oom
-- COST: O(legs), and O(log n) for each expired hold of the accounts
--@guard
--@accounts
local base, body, seen = 3, '', nil
--@legs
--@expiry
--@due
--@decide
--@fit
local spends, requests, making, checked = limited and {}, 1, 1, true
for i = 1, limited and legs or 0 do
  account = touched[i]
  if account.limits then spends[#spends + 1] = {leg = i, account = account, amount = tonumber(ARGV[base + 2 * i])} end
end
--@flow
--@spend
--@deny
answer = answer or {'FITS', posted}
for i = 1, more and 0 or legs do
  answer[#answer + 1] = touched[i].balance_text
  answer[#answer + 1] = touched[i].reserved_text
end
--@write
