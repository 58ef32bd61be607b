-- Corrects a balance by an amount of either sign; may take it below zero.
-- KEYS: meta journal due [seen]
-- ARGV: epoch at namespace fingerprint seen_ms account amount body
-- RETURNS: DONE posted id head | REPLAYED posted id head | MISMATCH | STALE | LOAD | AGAIN | DUE | OVERFLOW posted account
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard replay accounts expiry due decide write remember
-- COST: O(1), and O(log n) for each expired hold of the account
--@guard
--@replay
--@accounts
local account, body = touch(ARGV[3], ARGV[6]), ARGV[8]
--@expiry
--@due
--@decide
local balance = account.balance + tonumber(ARGV[7])
if not answer and math.abs(balance) > MAX_AMOUNT then answer = {'OVERFLOW', posted, account.name} end
if not answer then
  account.balance_text = text(balance)
  head = 'adjust ' .. now_text .. ' ' .. ARGV[3] .. ' - 0 0 ' .. account.name .. ' ' .. ARGV[7] .. ' 0 0 '
    .. account.balance_text .. ' ' .. account.reserved_text
end
--@write
--@remember
