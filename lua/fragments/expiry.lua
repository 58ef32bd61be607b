-- Returns to the touched accounts what their expired holds had reserved, before anything is decided.
-- Nothing is written here: all reads come before the first write.
-- GIVES: expiries (list of id, ns, key, head, legs, lapses), expiring (hold's key to true), more (one call was not enough)
-- ANSWERS: LOAD posted ticket '' path..., when an account is not in Redis
-- USES: guard accounts
local EXPIRE_LIMIT = 100
local expiries, expiring, more = {}, {}, false
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
