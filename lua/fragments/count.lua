-- Ends the head of an entry with the limits it leaves behind, for the ledger to keep them too, and lets `write` write
-- them: <leg>=<limits>, several legs joined by '|'.
-- USES: guard accounts expiry decide
for i = 1, limited and head and #counts or 0 do
  local one = counts[i]
  head = head .. (i == 1 and ' ' or '|') .. text(one.leg) .. '=' .. one.limits
  one.account.limits, one.account.counted = one.limits, true
end
