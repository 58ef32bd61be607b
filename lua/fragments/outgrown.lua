-- Keeps a hold whose period has closed at its size: what it gives back follows the carry-over limit of that period,
-- and credit of the next one must not.
-- USES: guard accounts hold decide
for i = 1, lapse and #hold.legs or 0 do
  local owner = hold.legs[i].account
  if owner.period and owner.over ~= -9007199254740991 and tonumber(hold.created_text) < owner.closed_ms
    and tonumber(ARGV[8 + i]) > 0 then
    answer = answer or {'SETTLED', posted, 'closed'}
  end
end
