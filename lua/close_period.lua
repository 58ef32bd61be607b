-- Closes a period of an account, once for each last day: what is available beyond the carry-over limit lapses.
-- KEYS: meta journal due [seen]
-- ARGV: epoch at namespace fingerprint seen_ms account day ticket body
-- RETURNS: DONE posted id head | REPLAYED posted id head | UNKNOWN posted | UNSURE posted ticket
--          | MISMATCH | STALE | LOAD | AGAIN | DUE
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard young replay accounts expiry due decide terms once stale write marked remember
-- COST: O(1), and O(log n) for each expired hold of the account
--@guard
--@young
--@replay
--@accounts
local account, body = touch(ARGV[3], ARGV[6]), ARGV[9]
--@expiry
--@due
--@decide
--@terms
local kind, latest = 'close:', words[5]
--@once
--@stale
-- A hold belongs to the period in which it was made. Those that are open now were made before this moment,
-- and whatever is made from now on must be told from them.
local closed_ms = account.reserved == 0 and now or now + 1
local closed_text = text(closed_ms)
if not answer then
  local available, limit = account.balance - account.reserved, tonumber(words[8])
  local over = limit and math.max(available - limit, UNLIMITED + 1) or UNLIMITED
  local expired, over_text = math.max(over, 0), text(over)
  if ARGV[7] > words[5] then words[5] = ARGV[7] end
  words[2], words[3] = closed_text, over_text
  account.balance_text = text(account.balance - expired)
  account.period, account.turned = table.concat(words, ' '), true
  head = 'close_period ' .. now_text .. ' ' .. ARGV[3] .. ' - ' .. closed_text .. ' 0 ' .. account.name .. ' '
    .. text(-expired) .. ' 0 ' .. over_text .. ' ' .. account.balance_text .. ' ' .. account.reserved_text
end
--@write
--@marked
if closed_ms > now then call('HSET', KEYS[1], 'last_ms', closed_text) end
--@remember
