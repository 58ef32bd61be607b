-- Finds the days that an account remembers as opened or closed and need not: the ledger has known them for a minute.
-- One call forgets a thousand of them at most, for `unpack` fails beyond some thousands, and fails after the append.
-- GIVES: stale (the fields that remember them)
-- USES: guard accounts
local KEEP_MS, MOST, stale = 60000, 1000, {}
local fields = call('HGETALL', account.key)
for i = 1, #fields, 2 do
  if string.find(fields[i], '^open:') or string.find(fields[i], '^close:') then
    local epoch, seq, at = string.match(fields[i + 1], '^(%d+)-(%d+) (%d+)')
    if (epoch ~= ARGV[1] or tonumber(seq) <= tonumber(posted)) and now - tonumber(at) > KEEP_MS
      and #stale < MOST then
      stale[#stale + 1] = fields[i]
    end
  end
end
