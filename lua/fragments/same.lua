-- Reads the amounts that were told of the hold as a whole, which begin with '=': they say nothing of a leg in another
-- unit than the first. The amounts begin with ARGV[9].
-- ANSWERS: UNIT posted leg account, for a leg in another unit
-- USES: guard hold decide
for i = 2, #hold.legs do
  if string.sub(ARGV[8 + i], 1, 1) == '=' then
    local name = hold.legs[i].account.name
    if string.match(name, '^[^:]*:[^:]*:([^:]*)') ~= string.match(hold.legs[1].account.name, '^[^:]*:[^:]*:([^:]*)') then
      answer = answer or {'UNIT', posted, text(i), name}
    end
    ARGV[8 + i] = string.sub(ARGV[8 + i], 2)
  end
end
