-- Carries the decision out: appends to the journal, writes the touched accounts.
-- The append comes first: it is the one write a server can refuse (an id of an epoch that was left), and
-- a refusal must leave nothing half done.
-- GIVES: id (of the verb's own entry), tail (when holds expired or credit lapsed, what every answer ends with: the
--        heads of those entries, the id of the last of these, their number and the word EXPIRED)
-- ANSWERS: answer, when the verb changes nothing; what had expired is written all the same
-- USES: guard accounts expiry decide
local id, beside_id
local tail = (#expiries > 0 or head and lapses) and {} or nil
for i = 1, #expiries do
  local expiry = expiries[i]
  id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', expiry.head)
  tail[#tail + 1] = expiry.head
  call('HSET', expiry.key, 'status', 'expired', 'settled_ms', now_text)
  for _, leg in ipairs(expiry.legs) do call('ZREM', prefix .. 'holds:' .. leg.account.path, expiry.id) end
  beside_id = id
  for j = 1, expiry.lapses and #expiry.lapses or 0 do
    beside_id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', expiry.lapses[j])
    tail[#tail + 1] = expiry.lapses[j]
  end
end
for i = 1, head and lapses and #lapses or 0 do
  beside_id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', lapses[i])
  tail[#tail + 1] = lapses[i]
end
id = beside_id
if head and seen then
  -- Fingerprint and key go along, for the ledger to remember both longer than Redis does.
  local claim = ARGV[4] .. ' ' .. string.sub(seen, #KEYS[3] + #ARGV[3] + 4)
  if body ~= '' then
    id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', head, 'key', claim, 'body', body)
  else
    id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', head, 'key', claim)
  end
elseif head and body ~= '' then
  id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', head, 'body', body)
elseif head then
  id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', head)
end
if id then
  local seq = string.sub(id, #ARGV[1] + 2)
  for i = 1, #touched do
    local account = touched[i]
    -- An account that was absent and still has nothing was only looked at, and stays absent.
    local named = not account.absent or account.period or account.balance_text ~= '0' or account.reserved_text ~= '0'
      or account.counted
    if named then
      call('HSET', account.key, 'balance', account.balance_text, 'reserved', account.reserved_text, 'seq', seq)
    end
    if named and account.absent then
      call('HDEL', account.key, 'absent')
      call('PERSIST', account.key)
    end
    if account.counted then call('HSET', account.key, 'limits', account.limits) end
    if account.turned then call('HSET', account.key, 'period', account.period) end
    if account.moved and account.next_ms then
      local next_text = text(account.next_ms)
      call('HSET', account.key, 'next_ms', next_text)
      call('ZADD', KEYS[3], next_text, account.path)
    elseif account.moved then
      call('HDEL', account.key, 'next_ms')
      call('ZREM', KEYS[3], account.path)
    end
  end
  if now > last_ms then call('HSET', KEYS[1], 'last_ms', now_text) end
end
-- Whoever is told of a change keeps the entries of all of it, until the ledger has them.
if tail then
  local count_text = text(#tail)
  tail[#tail + 1] = beside_id
  tail[#tail + 1] = count_text
  tail[#tail + 1] = 'EXPIRED'
end
for i = 1, answer and tail and #tail or 0 do answer[#answer + 1] = tail[i] end
if answer then return answer end
