-- Reads accounts into tables, which the verb changes and `write` writes back. The texts go with the
-- numbers, so that what a verb leaves alone is not formatted again.
-- GIVES: prefix, touched (accounts in order), absent (paths: namespace:account), touch(ns, name)
-- USES: guard
local prefix = string.sub(KEYS[3], 1, -4) -- the shard's state keys share all but the word 'due'
local known, touched, absent = {}, {}, {}
local function touch(ns, name)
  local path = ns .. ':' .. name
  local account = known[path]
  if account then return account end
  local key = prefix .. 'acct:' .. path
  local row = call('HMGET', key, 'balance', 'reserved', 'next_ms', 'absent')
  if not row[1] then
    absent[#absent + 1] = path
    return nil
  end
  account = {
    name = name, path = path, key = key, next_ms = tonumber(row[3]), absent = row[4], moved = false,
    balance = tonumber(row[1]), balance_text = row[1], reserved = tonumber(row[2]), reserved_text = row[2],
  }
  known[path] = account
  touched[#touched + 1] = account
  return account
end
