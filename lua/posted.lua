-- Notes how far the ledger has come: moves the watermark, lets settled holds leave, trims the journal.
-- KEYS: meta journal [hold...]
-- ARGV: epoch at seq keep_ms [advance]
-- RETURNS: POSTED posted | STALE
-- ERRORS: none
-- USES: guard
-- FLAGS: allow-oom
-- COST: O(holds + entries trimmed)
--@guard
for i = 3, #KEYS do
  -- A hold may have been settled again since, by a late commit that is not posted yet: that one must stay.
  local settled = tonumber(call('HGET', KEYS[i], 'seq') or nil)
  if settled and settled <= tonumber(ARGV[3]) then call('PEXPIRE', KEYS[i], ARGV[4]) end
end
if ARGV[5] ~= '0' and tonumber(ARGV[3]) > tonumber(posted) then
  call('HSET', KEYS[1], 'posted', ARGV[3])
  call('XTRIM', KEYS[2], 'MINID', '~', ARGV[1] .. '-' .. text(tonumber(ARGV[3]) + 1))
  posted = ARGV[3]
end
return {'POSTED', posted}
