-- Notes how far the ledger has come: moves the watermark, lets settled holds leave, trims the journal.
-- KEYS: meta journal [hold...]
-- ARGV: epoch at seq keep_ms advance expired
-- RETURNS: POSTED posted | STALE
-- ERRORS: none
-- USES: guard
-- FLAGS: allow-oom
-- COST: O(holds + entries trimmed)
--@guard
-- So many of the last holds expired. Such a one may have been settled since, by a late commit that is not posted yet,
-- and must stay; one that was committed or released is never settled again.
local expired_after = #KEYS - tonumber(ARGV[6])
for i = 3, #KEYS do
  if i <= expired_after or call('HGET', KEYS[i], 'status') == 'expired' then call('PEXPIRE', KEYS[i], ARGV[4]) end
end
if ARGV[5] ~= '0' and tonumber(ARGV[3]) > tonumber(posted) then
  call('HSET', KEYS[1], 'posted', ARGV[3])
  call('XTRIM', KEYS[2], 'MINID', '~', ARGV[1] .. '-' .. text(tonumber(ARGV[3]) + 1))
  posted = ARGV[3]
end
return {'POSTED', posted}
