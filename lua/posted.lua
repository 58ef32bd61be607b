-- Notes how far the ledger has come: moves the watermark, lets settled holds leave, trims the journal.
-- KEYS: meta journal [hold...]
-- ARGV: epoch at seq keep_ms
-- RETURNS: POSTED posted | STALE
-- ERRORS: none
-- USES: guard
-- FLAGS: allow-oom
-- COST: O(holds + entries trimmed)
--@guard
for i = 3, #KEYS do
  if call('HGET', KEYS[i], 'status') then call('PEXPIRE', KEYS[i], ARGV[4]) end
end
if tonumber(ARGV[3]) > tonumber(posted) then
  call('HSET', KEYS[1], 'posted', ARGV[3])
  call('XTRIM', KEYS[2], 'MINID', '~', ARGV[1] .. '-' .. text(tonumber(ARGV[3]) + 1))
  posted = ARGV[3]
end
return {'POSTED', posted}
