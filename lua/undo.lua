-- Undoes a duplicate: moves a balance back, drops a hold or gives back its charge, takes back an extension.
-- KEYS: meta journal due hold [seen]
-- ARGV: epoch at namespace fingerprint seen_ms hold_id verb made_ms body (account change)...
-- RETURNS: DONE posted id head | SETTLED posted status | REPLAYED posted id head
--          | MISMATCH | STALE | LOAD | AGAIN | OVERFLOW posted account
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard replay accounts expiry decide write remember
-- COST: O(legs * log n) for n open holds, and O(log n) for each expired hold of the accounts
--@guard
--@replay
--@accounts
local verb, body, legs, row = ARGV[7], ARGV[9], {}, {}
if ARGV[6] == '-' then
  for i = 10, #ARGV, 2 do
    legs[#legs + 1] = {account = touch(ARGV[3], ARGV[i]), change = -tonumber(ARGV[i + 1])}
  end
else
  row = call('HMGET', KEYS[4], 'terms', 'status', 'consumed')
  if row[2] == 'absent' then return {'SETTLED', posted, 'not_found'} end
  if not row[1] then return {'LOAD', posted, text(clock) .. ':' .. now_text, ARGV[3] .. ':' .. ARGV[6]} end
  for name, amount in string.gmatch(string.match(row[1], '^%S+ %S+ (.+)$'), '(%S+) (%S+)') do
    local leg = {account = touch(ARGV[3], name), amount = tonumber(amount), amount_text = amount, change = 0}
    legs[#legs + 1] = leg
    leg.added = tonumber(ARGV[9 + 2 * #legs])
  end
end
--@expiry
--@decide
local late, status = row[2] == 'expired' or expiring[KEYS[4]], row[2]
local step = 'adjust'
if verb == 'reserve' and status == 'committed' then
  local i = 0
  for charge in string.gmatch(row[3], '%S+') do
    i = i + 1
    legs[i].change = tonumber(charge)
  end
elseif verb == 'reserve' and status ~= 'released' then
  step = 'release'
elseif verb == 'extend' and not status and not late then
  step = 'extend'
end
for _, leg in ipairs(legs) do
  leg.balance = leg.account.balance + leg.change
  if math.abs(leg.balance) > MAX_AMOUNT then answer = answer or {'OVERFLOW', posted, leg.account.name} end
end
local expires_text, created_text = string.match(row[1] or '0 0', '^(%S+) (%S+)')
-- As if it had never been done: what a hold or a movement gives back after its period closed follows that period's
-- limit, and what it takes back comes out of what had lapsed.
local made_ms = tonumber(ARGV[6] == '-' and ARGV[8] or created_text)
for i = 1, lapse and not answer and #legs or 0 do
  local leg = legs[i]
  local account, before, freed = leg.account, leg.account.balance, leg.change
  if step == 'extend' then freed = leg.added elseif step == 'release' and not late then freed = leg.amount end
  if account.period then
    lapses = lapses or {}
    lapses[#lapses + 1] = lapse(account, made_ms, freed)
    leg.balance = leg.balance + (account.balance - before)
  end
end
if lapses and #lapses == 0 then lapses = nil end
local terms = expires_text .. ' ' .. created_text
if not answer then
  head = step .. ' ' .. now_text .. ' ' .. ARGV[3]
  if step == 'adjust' then
    head = head .. ' - 0 0' -- what was charged is given back, and the hold stays what it became
  else
    head = head .. ' ' .. ARGV[6] .. ' ' .. expires_text .. (late and ' 1' or ' 0')
  end
  for _, leg in ipairs(legs) do
    local account, dropped, size_text = leg.account, 0, '0'
    if step == 'extend' then
      dropped, size_text = leg.added, text(leg.amount - leg.added)
    elseif step == 'release' then
      dropped, size_text = late and 0 or leg.amount, leg.amount_text
    end
    account.balance_text, account.reserved_text = text(leg.balance), text(account.reserved - dropped)
    head = head .. ' ' .. account.name .. ' ' .. text(leg.change) .. ' ' .. text(-dropped) .. ' ' .. size_text
      .. ' ' .. account.balance_text .. ' ' .. account.reserved_text
    terms = terms .. ' ' .. account.name .. ' ' .. size_text
  end
end
--@write
if step == 'extend' then call('HSET', KEYS[4], 'terms', terms) end
if step == 'release' then
  call('HSET', KEYS[4], 'status', 'released', 'settled_ms', now_text, 'late', late and '1' or '0')
  -- As in commit: what must be posted now must not fade with the expiry.
  if late then call('PERSIST', KEYS[4]) end
  for _, leg in ipairs(legs) do call('ZREM', prefix .. 'holds:' .. leg.account.path, ARGV[6]) end
end
--@remember
