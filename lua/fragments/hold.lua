-- Reads the hold of KEYS[4] with the accounts of its legs. Its terms are pairs: the times when it expires
-- and when it was made, then account and amount of each leg.
-- GIVES: hold (id, expired, expires_text, created_text, legs: list of account, amount and amount_text)
-- ANSWERS: SETTLED posted status, when nothing of it can be open; LOAD posted ticket path, when Redis does not know it
-- USES: guard accounts
local row = call('HMGET', KEYS[4], 'terms', 'status')
if row[2] == 'absent' then return {'SETTLED', posted, 'not_found'} end
if not row[1] then return {'LOAD', posted, text(clock) .. ':' .. now_text, ARGV[3] .. ':' .. ARGV[6]} end
if row[2] == 'committed' or row[2] == 'released' then return {'SETTLED', posted, row[2]} end
local hold = {id = ARGV[6], expired = row[2] == 'expired', legs = {}}
for name, amount in string.gmatch(row[1], '(%S+) (%S+)') do
  if not hold.expires_text then
    hold.expires_text, hold.created_text = name, amount
  else
    hold.legs[#hold.legs + 1] = {account = touch(ARGV[3], name), amount = tonumber(amount), amount_text = amount}
  end
end
