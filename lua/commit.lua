-- Charges what a hold really used and drops the hold; after its expiry the charge is booked as late.
-- KEYS: meta journal due hold [seen]
-- ARGV: epoch at namespace fingerprint seen_ms hold_id policy body actual...
-- RETURNS: DONE posted id head | SETTLED posted status | UNIT posted leg account
--          | OVERAGE posted leg account held actual | REPLAYED posted id head
--          | MISMATCH | STALE | LOAD | AGAIN | OVERFLOW posted account
-- ERRORS: LEGS, when there is not one actual for each leg
-- USES: guard replay accounts hold expiry decide same overage lapse flow giveback count write remember
-- FLAGS: allow-oom
-- COST: O(legs * log n) for n open holds, and O(log n) for each expired hold of the accounts
--@guard
--@replay
--@accounts
--@hold
--@expiry
--@decide
local body, late = ARGV[8], hold.expired or expiring[KEYS[4]]
if #ARGV - 8 ~= #hold.legs then return redis.error_reply('LEGS a commit has one actual amount for each leg') end
--@same
--@overage
if late and late_policy == 'refuse' then answer = {'SETTLED', posted, 'expired'} end
for i, leg in ipairs(hold.legs) do
  leg.balance = leg.account.balance - tonumber(ARGV[8 + i])
  if leg.balance < -MAX_AMOUNT then answer = answer or {'OVERFLOW', posted, leg.account.name} end
end
local consumed, charged, requests = ARGV[9], 8, 0
--@lapse
for i = 1, limited and #hold.legs or 0 do hold.legs[i].back = hold.legs[i].amount - tonumber(ARGV[8 + i]) end
--@flow
--@giveback
if not answer then
  head = 'commit ' .. now_text .. ' ' .. ARGV[3] .. ' ' .. hold.id .. ' ' .. hold.expires_text .. (late and ' 1' or ' 0')
  for i, leg in ipairs(hold.legs) do
    local account, actual, dropped = leg.account, ARGV[8 + i], '0'
    if not late then
      account.reserved_text, dropped = text(account.reserved - leg.amount), '-' .. leg.amount_text
    end
    account.balance_text = text(leg.balance)
    head = head .. ' ' .. account.name .. (actual == '0' and ' ' or ' -') .. actual .. ' ' .. dropped .. ' '
      .. leg.amount_text .. ' ' .. account.balance_text .. ' ' .. account.reserved_text
    if i > 1 then consumed = consumed .. ' ' .. actual end
  end
end
--@count
--@write
call('HSET', KEYS[4], 'status', 'committed', 'settled_ms', now_text, 'late', late and '1' or '0',
  'consumed', consumed)
-- The posting of its expiry let the hold fade; what must be posted now must not fade before.
if late then call('PERSIST', KEYS[4]) end
for _, leg in ipairs(hold.legs) do call('ZREM', prefix .. 'holds:' .. leg.account.path, hold.id) end
--@remember
