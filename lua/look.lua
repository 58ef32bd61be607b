-- Reads one hold as it stands, open or settled; changes nothing.
-- KEYS: meta journal due hold
-- ARGV: epoch at namespace hold_id
-- RETURNS: HOLD posted now status terms settled_ms late consumed body
--          | SETTLED posted not_found | STALE | LOAD
-- ERRORS: none
-- USES: guard
-- FLAGS: allow-oom
-- COST: O(1)
--@guard
local row = call('HMGET', KEYS[4], 'status', 'terms', 'settled_ms', 'late', 'consumed', 'body')
if row[1] == 'absent' then return {'SETTLED', posted, 'not_found'} end
if not row[2] then return {'LOAD', posted, text(clock) .. ':' .. now_text, ARGV[3] .. ':' .. ARGV[4]} end
return {'HOLD', posted, now_text, row[1] or 'active', row[2], row[3] or '', row[4] or '0', row[5] or '',
  row[6] or ''}
