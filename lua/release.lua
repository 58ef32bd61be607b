-- Drops a hold and charges nothing.
-- KEYS: meta journal due hold [seen]
-- ARGV: epoch at namespace fingerprint seen_ms hold_id body
-- RETURNS: DONE posted id head | SETTLED posted status | REPLAYED posted id head
--          | MISMATCH | STALE | LOAD | AGAIN
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard replay accounts hold expiry decide lapse flow giveback count write remember
-- FLAGS: allow-oom
-- COST: O(legs * log n) for n open holds, and O(log n) for each expired hold of the accounts
--@guard
--@replay
--@accounts
--@hold
--@expiry
--@decide
local body, requests = ARGV[7], 1
if hold.expired or expiring[KEYS[4]] then answer = answer or {'SETTLED', posted, 'expired'} end
local charged = #ARGV
--@lapse
for i = 1, limited and #hold.legs or 0 do hold.legs[i].back = hold.legs[i].amount end
--@flow
--@giveback
if not answer then
  head = 'release ' .. now_text .. ' ' .. ARGV[3] .. ' ' .. hold.id .. ' ' .. hold.expires_text .. ' 0'
  for _, leg in ipairs(hold.legs) do
    local account = leg.account
    account.reserved_text = text(account.reserved - leg.amount)
    head = head .. ' ' .. account.name .. ' 0 -' .. leg.amount_text .. ' ' .. leg.amount_text .. ' '
      .. account.balance_text .. ' ' .. account.reserved_text
  end
end
--@count
--@write
call('HSET', KEYS[4], 'status', 'released', 'settled_ms', now_text)
for _, leg in ipairs(hold.legs) do call('ZREM', prefix .. 'holds:' .. leg.account.path, hold.id) end
--@remember
