-- Puts accounts and their open holds into Redis as the ledger knows them, where Redis still knows nothing. `known`
-- is 0 for one that does not exist, 1 for one that does; where it has some, its words of periods (see terms), and its
-- limits after a '|'.
-- KEYS: meta journal due
-- ARGV: epoch at namespace ticket absent_ms (account known balance reserved holds
--       (id expires_ms terms body)...)...
-- RETURNS: INSTALLED posted | LATE posted | STALE
-- ERRORS: none
-- USES: guard young ticket
-- COST: O(accounts + holds * log n)
--@guard
--@young
--@ticket
local prefix = string.sub(KEYS[3], 1, -4)
local i = 6
while i <= #ARGV do
  local path, known, balance, reserved, count = ARGV[3] .. ':' .. ARGV[i], unpack(ARGV, i + 1, i + 4)
  local key, first_ms = prefix .. 'acct:' .. path, nil
  local fresh = call('EXISTS', key) == 0
  i = i + 5
  for _ = 1, tonumber(count) do
    local id, expires_ms, terms, body = unpack(ARGV, i, i + 3)
    local hold = prefix .. 'hold:' .. ARGV[3] .. ':' .. id
    i = i + 4
    if fresh then
      if call('EXISTS', hold) == 0 then
        call('HSET', hold, 'terms', terms, 'body', body)
      end
      call('ZADD', prefix .. 'holds:' .. path, expires_ms, id)
      if not first_ms or tonumber(expires_ms) < tonumber(first_ms) then first_ms = expires_ms end
    end
  end
  if fresh then
    -- What the ledger gave holds no entry beyond the watermark; so read often, it does not leave at once.
    call('HSET', key, 'balance', balance, 'reserved', reserved, 'seq', posted)
    if known == '0' then
      call('HSET', key, 'absent', '1')
      call('PEXPIRE', key, ARGV[5])
    elseif known ~= '1' then
      local period, limits = string.match(known, '^([^|]*)|?(.*)$')
      if period ~= '' then call('HSET', key, 'period', period) end
      if limits ~= '' then call('HSET', key, 'limits', limits) end
    end
  end
  if first_ms then
    call('HSET', key, 'next_ms', first_ms)
    call('ZADD', KEYS[3], first_ms, path)
  end
end
return {'INSTALLED', posted}
