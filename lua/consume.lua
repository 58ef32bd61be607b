-- Debits an account in one step; with the check only as far as it has something available.
-- KEYS: meta journal due [seen]
-- ARGV: epoch at namespace fingerprint seen_ms account amount check body
-- RETURNS: DONE posted id head | DENIED posted leg account balance reserved available needed wait_ms reason limit
--          | REPLAYED posted id head | MISMATCH | STALE | LOAD | AGAIN | DUE | OVERFLOW posted account
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard replay accounts expiry due decide flow spend deny count write remember
-- COST: O(1), and O(log n) for each expired hold of the account
--@guard
--@replay
--@accounts
local account, body = touch(ARGV[3], ARGV[6]), ARGV[9]
--@expiry
--@due
--@decide
local amount, balance, short = tonumber(ARGV[7]), account.balance - tonumber(ARGV[7]), nil
if ARGV[8] == '1' and amount > account.balance - account.reserved then
  short = {{leg = 1, account = account, needed = amount}}
end
local spends, requests, making, checked = limited and {}, 1, nil, ARGV[8] == '1'
if account.limits then spends[1] = {leg = 1, account = account, amount = amount} end
--@flow
--@spend
--@deny
if not answer and balance < -MAX_AMOUNT then answer = {'OVERFLOW', posted, account.name} end
if not answer then
  account.balance_text = text(balance)
  head = 'consume ' .. now_text .. ' ' .. ARGV[3] .. ' - 0 0 ' .. account.name .. ' -' .. ARGV[7] .. ' 0 0 '
    .. account.balance_text .. ' ' .. account.reserved_text
end
--@count
--@write
--@remember
