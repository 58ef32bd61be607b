-- Reads accounts into tables, which the verb changes and `write` writes back. The texts go with the
-- numbers, so that what a verb leaves alone is not formatted again.
-- GIVES: prefix, touched (accounts in order; `absent` and `moved`, when its first expiry moves, are set where
--        they are true), absent (paths: namespace:account), touch(ns, name); and where an account has periods:
--        period (its words, see `terms`), closed_ms and over of the account, due (path and words of each whose
--        period is over), lapse(account, created_ms, freed), lapses (the heads of the verb's own)
-- USES: guard
local prefix = string.sub(KEYS[3], 1, -4) -- the shard's state keys share all but the word 'due'
local touched, absent = {}, {}
local due, lapse, lapses
local function touch(ns, name)
  local path = ns .. ':' .. name
  for i = 1, #touched do
    if touched[i].path == path then return touched[i] end
  end
  local key = prefix .. 'acct:' .. path
  local row = call('HMGET', key, 'balance', 'reserved', 'next_ms', 'absent', 'period')
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
  if row[5] then
    local due_ms, closed_ms, over = string.match(row[5], '^(%d+) (%d+) (%S+)')
    account.period, account.due_ms = row[5], tonumber(due_ms)
    account.closed_ms, account.over = tonumber(closed_ms), tonumber(over)
    if due_ms ~= '0' and account.due_ms <= now then
      due = due or {}
      due[#due + 1] = path
      due[#due + 1] = row[5]
    end
    -- What a hold of a closed period gives back lapses as far as it goes beyond what could be carried over, and
    -- what it takes beyond its size comes out of what had lapsed: as if it had settled before the closing. Gives
    -- the head of the entry that says so, or nothing.
    lapse = lapse or function(owner, created_ms, freed)
      if created_ms >= owner.closed_ms or owner.over == -9007199254740991 or freed == 0 then return nil end
      local before = owner.over
      owner.over = math.max(before + freed, -9007199254740990)
      local lapsed = math.max(owner.over, 0) - math.max(before, 0)
      owner.balance = owner.balance - lapsed
      owner.balance_text, owner.turned = text(owner.balance), true
      local over_text = text(owner.over)
      owner.period = string.gsub(owner.period, '^(%d+ %d+) %S+', '%1 ' .. over_text, 1)
      return 'lapse ' .. now_text .. ' ' .. string.match(owner.path, '^[^:]*') .. ' - 0 0 ' .. owner.name .. ' '
        .. text(-lapsed) .. ' 0 ' .. over_text .. ' ' .. owner.balance_text .. ' ' .. owner.reserved_text
    end
  end
  touched[#touched + 1] = account
  return account
end
