-- Sets what an account is given each period, what it may carry over, and the schedule of its periods.
-- KEYS: meta journal due [seen]
-- ARGV: epoch at namespace fingerprint seen_ms account first_ms allocation limit anchor every zone body
-- RETURNS: DONE posted id head | REPLAYED posted id head | MISMATCH | STALE | LOAD | AGAIN | DUE
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard replay accounts expiry due decide terms write remember
-- COST: O(1), and O(log n) for each expired hold of the account
--@guard
--@replay
--@accounts
local account, body = touch(ARGV[3], ARGV[6]), ARGV[13]
--@expiry
--@due
--@decide
--@terms
if not answer then
  -- The same schedule goes on as it runs; another one begins at its first boundary.
  local anew = words[9] ~= ARGV[10] or words[10] ~= ARGV[11] or words[11] ~= ARGV[12]
  if anew then words[1], words[6] = ARGV[7], '-' end
  words[7], words[8], words[9], words[10], words[11] = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
  account.period, account.turned = table.concat(words, ' '), true
  head = 'set_period ' .. now_text .. ' ' .. ARGV[3] .. ' - ' .. words[1] .. (anew and ' 1 ' or ' 0 ') .. account.name
    .. ' 0 0 0 ' .. account.balance_text .. ' ' .. account.reserved_text
end
--@write
--@remember
