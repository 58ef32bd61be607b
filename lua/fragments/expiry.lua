-- Returns to the touched accounts what their expired holds had reserved, before anything is decided.
-- Nothing is written here: all reads come before the first write.
-- GIVES: expiries (list of id, ns, key, head, legs, lapses), expiring (hold's key to true), more (one call was not
--        enough); and where an account has periods: closed_ms and over of each that has, due (path and words of each
--        whose period is over), lapse(account, created_ms, freed); lapses (nil: the verb gives the heads of its own)
-- ANSWERS: LOAD posted ticket '' path..., when an account is not in Redis
-- USES: guard accounts
local EXPIRE_LIMIT = 100
local expiries, expiring, more = {}, {}, false
local due, lapse, lapses
for i = 1, #touched do
  local owner = touched[i]
  if owner.next_ms and owner.next_ms <= now then
    local ns = string.match(owner.path, '^[^:]*')
    local rows = call('ZRANGE', prefix .. 'holds:' .. owner.path, 0, EXPIRE_LIMIT, 'WITHSCORES')
    owner.next_ms, owner.moved = nil, true
    for j = 1, #rows, 2 do
      local id, expires_ms = rows[j], tonumber(rows[j + 1])
      if expires_ms > now or #expiries >= EXPIRE_LIMIT then
        owner.next_ms, more = expires_ms, more or expires_ms <= now
        break
      end
      local key = prefix .. 'hold:' .. ns .. ':' .. id
      if not expiring[key] then
        local created_ms, legs = string.match(call('HGET', key, 'terms'), '^%S+ (%S+) (.+)$')
        local expiry = {
          id = id, ns = ns, key = key, expires_ms = expires_ms, created_ms = tonumber(created_ms), legs = {},
        }
        for name, amount in string.gmatch(legs, '(%S+) (%S+)') do
          expiry.legs[#expiry.legs + 1] = {account = touch(ns, name), amount = amount}
        end
        expiring[key] = true
        expiries[#expiries + 1] = expiry
      end
    end
  end
end
if #absent > 0 then return {'LOAD', posted, text(clock) .. ':' .. now_text, '', unpack(absent)} end
if touched.period then
  for i = 1, #touched do
    local owner = touched[i]
    local due_text, closed_text, over_text = string.match(owner.period or '', '^(%d+) (%d+) (%S+)')
    if due_text then
      owner.closed_ms, owner.over = tonumber(closed_text), tonumber(over_text)
      if due_text ~= '0' and tonumber(due_text) <= now then
        due = due or {}
        due[#due + 1] = owner.path
        due[#due + 1] = owner.period
      end
    end
  end
  -- What a hold of a closed period gives back lapses as far as it goes beyond what could be carried over, and what
  -- it takes beyond its size comes out of what had lapsed: as if it had settled before the closing. Gives the head
  -- of the entry that says so, or nothing.
  lapse = function(owner, created_ms, freed)
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
for i = 1, #expiries do
  local expiry = expiries[i]
  local head = 'expire ' .. now_text .. ' ' .. expiry.ns .. ' ' .. expiry.id .. ' ' .. text(expiry.expires_ms) .. ' 0'
  for _, leg in ipairs(expiry.legs) do
    local account = leg.account
    account.reserved = account.reserved - tonumber(leg.amount)
    account.reserved_text = text(account.reserved)
    head = head .. ' ' .. account.name .. ' 0 -' .. leg.amount .. ' ' .. leg.amount .. ' ' .. account.balance_text
      .. ' ' .. account.reserved_text
  end
  expiry.head = head
  for j = 1, lapse and #expiry.legs or 0 do
    local leg = expiry.legs[j]
    local lapsed = leg.account.period and lapse(leg.account, expiry.created_ms, tonumber(leg.amount))
    if lapsed then
      expiry.lapses = expiry.lapses or {}
      expiry.lapses[#expiry.lapses + 1] = lapsed
    end
  end
end
