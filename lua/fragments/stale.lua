-- Finds the days that an account remembers as opened or closed and need not: the ledger has known them for a minute.
-- GIVES: stale (the fields that remember them)
-- USES: guard accounts
local KEEP_MS, stale = 60000, {}
local fields = call('HGETALL', account.key)
for i = 1, #fields, 2 do
  if string.find(fields[i], '^open:') or string.find(fields[i], '^close:') then
    local epoch, seq, at = string.match(fields[i + 1], '^(%d+)-(%d+) (%d+)')
    if (epoch ~= ARGV[1] or tonumber(seq) <= tonumber(posted)) and now - tonumber(at) > KEEP_MS then
      stale[#stale + 1] = fields[i]
    end
  end
end
