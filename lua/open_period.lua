-- Opens a period of an account: credits its allocation, once for each first day.
-- KEYS: meta journal due [seen]
-- ARGV: epoch at namespace fingerprint seen_ms account day ticket allocation body
-- RETURNS: DONE posted id head | REPLAYED posted id head | UNKNOWN posted | UNSURE posted ticket | UNGIVEN posted
--          | MISMATCH | STALE | LOAD | AGAIN | DUE | OVERFLOW posted account
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard young replay accounts expiry due decide terms once stale write marked remember
-- COST: O(1), and O(log n) for each expired hold of the account
--@guard
--@young
--@replay
--@accounts
local account, body = touch(ARGV[3], ARGV[6]), ARGV[10]
--@expiry
--@due
--@decide
--@terms
local kind, latest = 'open:', words[4]
--@once
--@stale
local amount = tonumber(ARGV[9] ~= '' and ARGV[9] or words[7])
if not answer and (not amount or amount <= 0) then answer = {'UNGIVEN', posted} end
local balance = account.balance + (amount or 0)
if not answer and balance > MAX_AMOUNT then answer = {'OVERFLOW', posted, account.name} end
if not answer then
  if ARGV[7] > words[4] then words[4] = ARGV[7] end
  account.balance_text = text(balance)
  account.period, account.turned = table.concat(words, ' '), true
  head = 'open_period ' .. now_text .. ' ' .. ARGV[3] .. ' - 0 0 ' .. account.name .. ' ' .. text(amount) .. ' 0 0 '
    .. account.balance_text .. ' ' .. account.reserved_text
end
--@write
--@marked
--@remember
