-- Does what was agreed on for a commit of more than is held. `charge` charges it whatever it is; with `cap` a leg is
-- charged no more than it holds, or than its account has that others do not hold, where that is more; with `deny` the
-- commit fails. ARGV[7] says what a late commit does, and where that is not `charge`, the rule after it.
-- ANSWERS: OVERAGE posted leg account held actual, where more than is held is refused
-- USES: guard hold expiry decide same
local late_policy, overage = ARGV[7], ''
if late_policy ~= 'charge' then late_policy, overage = string.match(ARGV[7], '^(%l+) ?(%l*)$') end
for i = 1, overage ~= '' and #hold.legs or 0 do
  local leg, actual = hold.legs[i], tonumber(ARGV[8 + i])
  if overage == 'deny' and actual > leg.amount then
    answer = answer or {'OVERAGE', posted, text(i), leg.account.name, leg.amount_text, ARGV[8 + i]}
  elseif overage == 'cap' then
    local free = leg.account.balance - leg.account.reserved + (late and 0 or leg.amount)
    local most = math.max(leg.amount, free)
    if actual > most then ARGV[8 + i] = text(most) end
  end
end
