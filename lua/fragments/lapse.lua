-- Reckons what lapses with the settling of a hold whose period has closed. The verb gives `charged`: the argument
-- before those that say what each leg is charged, or the last argument where nothing is.
-- GIVES: lapses (the heads of their entries); moves balance and leg.balance by what lapsed
-- USES: guard accounts hold decide
for i = 1, lapse and not answer and #hold.legs or 0 do
  local leg = hold.legs[i]
  local account, before = leg.account, leg.account.balance
  if account.period then
    local freed = (hold.expired and 0 or expiring[KEYS[4]] and 0 or leg.amount) - tonumber(ARGV[charged + i] or '0')
    local lapsed = lapse(account, tonumber(hold.created_text), freed)
    lapses = lapses or {}
    lapses[#lapses + 1] = lapsed
    leg.balance = leg.balance and leg.balance + (account.balance - before)
  end
end
if lapses and #lapses == 0 then lapses = nil end
