-- Makes a hold over one or more accounts, on all of them or on none.
-- KEYS: meta journal due hold [seen]
-- ARGV: epoch at namespace fingerprint seen_ms hold_id ttl_ms body (account amount)...
-- RETURNS: DONE posted id head | DENIED posted leg account balance reserved available needed wait_ms reason limit
--          | REPLAYED posted id head | MISMATCH | STALE | LOAD | AGAIN | DUE
-- ERRORS: LEGS, when an account is named twice
-- USES: guard replay accounts legs expiry due decide fit flow spend deny count write remember
-- COST: O(legs * log n) for n open holds, and O(log n) for each expired hold of the accounts
--@guard
--@replay
--@accounts
local body, base = ARGV[8], 8
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
local expires_ms = now + tonumber(ARGV[7])
local expires_text = text(expires_ms)
local terms = expires_text .. ' ' .. now_text
if not answer then
  head = 'reserve ' .. now_text .. ' ' .. ARGV[3] .. ' ' .. ARGV[6] .. ' ' .. expires_text .. ' 0'
  for i = 1, legs do
    local amount_text = ARGV[8 + 2 * i]
    account = touched[i]
    account.reserved_text = text(account.reserved)
    if not account.next_ms or expires_ms < account.next_ms then
      account.next_ms, account.moved = expires_ms, true
    end
    head = head .. ' ' .. account.name .. ' 0 ' .. amount_text .. ' ' .. amount_text .. ' ' .. account.balance_text
      .. ' ' .. account.reserved_text
    terms = terms .. ' ' .. account.name .. ' ' .. amount_text
  end
end
--@count
--@write
call('HSET', KEYS[4], 'terms', terms)
if body ~= '' then call('HSET', KEYS[4], 'body', body) end
if uncounted ~= '' then call('HSET', KEYS[4], 'uncounted', uncounted) end
for i = 1, legs do call('ZADD', prefix .. 'holds:' .. touched[i].path, expires_text, ARGV[6]) end
--@remember
