-- Lengthens a hold, never shortens it, and enlarges its legs as far as they have something available.
-- KEYS: meta journal due hold [seen]
-- ARGV: epoch at namespace fingerprint seen_ms hold_id ttl_ms body added...
-- RETURNS: DONE posted id head | DENIED posted leg account balance reserved available needed wait_ms reason limit
--          | SETTLED posted status | UNIT posted leg account | REPLAYED posted id head
--          | MISMATCH | STALE | LOAD | AGAIN | DUE
-- ERRORS: LEGS, when there is not one added amount for each leg
-- USES: guard replay accounts hold expiry due decide same outgrown flow spend deny count write remember
-- COST: O(legs * log n) for n open holds, and O(log n) for each expired hold of the accounts
--@guard
--@replay
--@accounts
--@hold
--@expiry
--@due
--@decide
local body, account, short = ARGV[8], nil, nil
if #ARGV - 8 ~= #hold.legs then return redis.error_reply('LEGS an extension has one amount for each leg') end
if hold.expired or expiring[KEYS[4]] then answer = answer or {'SETTLED', posted, 'expired'} end
--@same
--@outgrown
for i, leg in ipairs(hold.legs) do
  local added = tonumber(ARGV[8 + i])
  account = leg.account
  if added > 0 and added > account.balance - account.reserved then
    short = short or {}
    short[#short + 1] = {leg = i, account = account, needed = added, own = leg.amount, hold = hold}
  end
end
local spends, requests, making, checked = limited and {}, 0, nil, true
for i = 1, limited and #hold.legs or 0 do
  account = hold.legs[i].account
  if account.limits then spends[#spends + 1] = {leg = i, account = account, amount = tonumber(ARGV[8 + i])} end
end
--@flow
--@spend
--@deny
-- What a shadow limit would have refused of it is never given back, and none of what was held before either.
local passed_by = uncounted ~= '' and call('HGET', KEYS[4], 'uncounted') or ''
for part in string.gmatch(uncounted, ' %S+ ') do
  if not string.find(passed_by, part, 1, true) then passed_by = passed_by .. part end
end
local expires_text = text(math.max(tonumber(hold.expires_text), now + tonumber(ARGV[7])))
local terms = expires_text .. ' ' .. hold.created_text
if not answer then
  head = 'extend ' .. now_text .. ' ' .. ARGV[3] .. ' ' .. hold.id .. ' ' .. expires_text .. ' 0'
  for i, leg in ipairs(hold.legs) do
    local added, size_text = ARGV[8 + i], text(leg.amount + tonumber(ARGV[8 + i]))
    account = leg.account
    account.reserved_text = text(account.reserved + tonumber(added))
    head = head .. ' ' .. account.name .. ' 0 ' .. added .. ' ' .. size_text .. ' ' .. account.balance_text
      .. ' ' .. account.reserved_text
    terms = terms .. ' ' .. account.name .. ' ' .. size_text
  end
end
--@count
--@write
call('HSET', KEYS[4], 'terms', terms)
if uncounted ~= '' then call('HSET', KEYS[4], 'uncounted', passed_by) end
for _, leg in ipairs(hold.legs) do call('ZADD', prefix .. 'holds:' .. leg.account.path, expires_text, hold.id) end
--@remember
