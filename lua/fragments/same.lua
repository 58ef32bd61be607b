-- Gives a leg whose amount is '=' the amount of the first leg, which says nothing of a leg in another unit. The
-- amounts begin with ARGV[9].
-- ANSWERS: UNIT posted leg account, for a leg in another unit
-- USES: guard hold decide
for i = 2, #hold.legs do
  if ARGV[8 + i] == '=' then
    local name = hold.legs[i].account.name
    if string.match(name, '^[^:]*:[^:]*:([^:]*)') ~= string.match(hold.legs[1].account.name, '^[^:]*:[^:]*:([^:]*)') then
      answer = answer or {'UNIT', posted, text(i), name}
    end
    ARGV[8 + i] = ARGV[9]
  end
end
