-- Makes a hold over one or more accounts, on all of them or on none.
-- KEYS: meta journal due hold [seen]
-- ARGV: epoch at namespace fingerprint seen_ms hold_id ttl_ms body (account amount)...
-- RETURNS: DONE posted id head | DENIED posted leg balance reserved next_ms now | REPLAYED posted id head
--          | MISMATCH | STALE | LOAD | AGAIN | DUE | OVERFLOW posted account
-- ERRORS: LEGS, when an account is named twice
-- USES: guard replay accounts expiry due decide deny write remember
-- COST: O(legs * log n) for n open holds, and O(log n) for each expired hold of the accounts
--@guard
--@replay
--@accounts
local body, legs = ARGV[8], (#ARGV - 8) / 2
for i = 9, #ARGV, 2 do touch(ARGV[3], ARGV[i]) end
if #touched + #absent ~= legs then return redis.error_reply('LEGS a hold has each account once') end
--@expiry
--@due
--@decide
local account, short
for i = 1, legs do
  account = touched[i] -- what else an expiry touched comes after the legs
  local amount = tonumber(ARGV[8 + 2 * i])
  if amount > account.balance - account.reserved then short = i; break end
  account.reserved = account.reserved + amount
  if account.reserved > MAX_AMOUNT then answer = {'OVERFLOW', posted, account.name}; break end
end
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
--@write
call('HSET', KEYS[4], 'terms', terms)
if body ~= '' then call('HSET', KEYS[4], 'body', body) end
for i = 1, legs do call('ZADD', prefix .. 'holds:' .. touched[i].path, expires_text, ARGV[6]) end
--@remember
