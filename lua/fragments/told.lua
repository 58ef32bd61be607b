-- Reads how a hold stands on one of its accounts, without deciding anything.
-- GIVES: told(path, name, id): whether the account lists it ('1' or '0'), then the amount of its leg, 'settled',
--        or '-' when there is no such hold, then its terms
-- USES: guard accounts
local function told(path, name, id)
  local listed = call('ZSCORE', prefix .. 'holds:' .. path, id) and '1' or '0'
  local row = call('HMGET', prefix .. 'hold:' .. ARGV[3] .. ':' .. id, 'status', 'terms')
  if row[1] or not row[2] then return listed, row[1] and 'settled' or '-', row[2] end
  for account, amount in string.gmatch(row[2], '(%S+) (%S+)') do
    if account == name then return listed, amount, row[2] end
  end
  return listed, '-', row[2]
end
