-- Reads accounts into tables, which the verb changes and `write` writes back. The texts go with the
-- numbers, so that what a verb leaves alone is not formatted again.
-- GIVES: prefix, touched (accounts in order; `absent` and `moved`, when its first expiry moves, are set where
--        they are true, and `period`, what the account has of periods, and `limits` where it has some;
--        `touched.period` where one has), absent (paths: namespace:account), touch(ns, name), limited (whether one
--        of them has limits)
-- USES: guard
local prefix = string.sub(KEYS[3], 1, -4) -- the shard's state keys share all but the word 'due'
local touched, absent, limited = {}, {}, false
local function touch(ns, name)
  local path = ns .. ':' .. name
  for i = 1, #touched do
    if touched[i].path == path then return touched[i] end
  end
  local key = prefix .. 'acct:' .. path
  local row = call('HMGET', key, 'balance', 'reserved', 'next_ms', 'absent', 'period', 'limits')
  if not row[1] then
    for i = 1, #absent do
      if absent[i] == path then return nil end
    end
    absent[#absent + 1] = path
    return nil
  end
  -- Eight fields and no more: a ninth doubles the table, and every call pays for that.
  local account = {
    name = name, path = path, key = key, next_ms = tonumber(row[3]),
    balance = tonumber(row[1]), balance_text = row[1], reserved = tonumber(row[2]), reserved_text = row[2],
  }
  if row[4] then account.absent = true end
  if row[5] then account.period, touched.period = row[5], true end
  if row[6] then account.limits, limited = row[6], true end
  touched[#touched + 1] = account
  return account
end
