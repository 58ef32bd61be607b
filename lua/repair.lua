-- Brings an account to what the ledger says: moves its numbers by what they were off at an audit, and puts back
-- or drops holds. Moving by a difference is right whatever happened since the audit, unless it was moved already.
-- KEYS: meta journal due
-- ARGV: epoch at namespace account audit_id audit_ms balance_off reserved_off booked body
--       (hold_id listed amount expires_ms terms hold_body)...
-- RETURNS: DONE posted id head | OUTDATED posted | OVERFLOW posted account | STALE
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard accounts told
-- COST: O(holds * legs * log n) for n open holds
--@guard
--@accounts
--@told
local MAX_AMOUNT = 9007199254740991
local TICKET_MS = 30000 -- nothing leaves Redis within a minute of its last change, so a repair is remembered
local account = touch(ARGV[3], ARGV[4])
local epoch, seq = string.match(ARGV[5], '^(%d+)%-(%d+)$')
if not account or account.absent or epoch ~= ARGV[1] or now - tonumber(ARGV[6]) > TICKET_MS then
  return {'OUTDATED', posted}
end
local mended = call('HGET', account.key, 'mended')
if mended and tonumber(mended) > tonumber(seq) then return {'OUTDATED', posted} end
local balance, reserved = account.balance - tonumber(ARGV[7]), account.reserved - tonumber(ARGV[8])
if math.abs(balance) > MAX_AMOUNT or math.abs(reserved) > MAX_AMOUNT then
  return {'OVERFLOW', posted, account.name}
end
-- A hold that does not stand any more as the audit saw it was settled or put back since: it is left alone.
local drops, restores = {}, {}
for i = 11, #ARGV, 6 do
  local listed, amount, terms = told(account.path, account.name, ARGV[i])
  if listed == ARGV[i + 1] and amount == ARGV[i + 2] then
    local kept = ARGV[i + 4] ~= ''
    local fix = {
      id = ARGV[i], expires_ms = tonumber(ARGV[i + 3]), expires_text = ARGV[i + 3], terms = ARGV[i + 4],
      body = ARGV[i + 5], open = amount ~= 'settled', legs = {account},
    }
    for name in string.gmatch(kept and ARGV[i + 4] or terms or '', '(%S+) %S+') do
      local leg = string.find(name, ':', 1, true) and touch(ARGV[3], name)
      if leg and leg ~= account then fix.legs[#fix.legs + 1] = leg end
    end
    if kept then restores[#restores + 1] = fix else drops[#drops + 1] = fix end
  end
end
local head = 'repair ' .. now_text .. ' ' .. ARGV[3] .. ' - 0 0 ' .. account.name .. ' ' .. ARGV[9] .. ' 0 0 '
  .. text(balance) .. ' ' .. text(reserved)
local id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', head, 'body', ARGV[10])
local last = string.match(id, '%d+$')
call('HSET', account.key, 'balance', text(balance), 'reserved', text(reserved), 'seq', last, 'mended', last)
for _, fix in ipairs(drops) do
  if fix.open then call('DEL', prefix .. 'hold:' .. ARGV[3] .. ':' .. fix.id) end
  for _, leg in ipairs(fix.legs) do call('ZREM', prefix .. 'holds:' .. leg.path, fix.id) end
end
for _, fix in ipairs(restores) do
  call('DEL', prefix .. 'hold:' .. ARGV[3] .. ':' .. fix.id)
  call('HSET', prefix .. 'hold:' .. ARGV[3] .. ':' .. fix.id, 'terms', fix.terms, 'body', fix.body)
  for _, leg in ipairs(fix.legs) do
    call('ZADD', prefix .. 'holds:' .. leg.path, fix.expires_text, fix.id)
    if not leg.next_ms or fix.expires_ms < leg.next_ms then
      leg.next_ms = fix.expires_ms
      call('HSET', leg.key, 'next_ms', fix.expires_text)
      call('ZADD', KEYS[3], fix.expires_text, leg.path)
    end
  end
end
if now > last_ms then call('HSET', KEYS[1], 'last_ms', now_text) end
return {'DONE', posted, id, head}
