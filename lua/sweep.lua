-- Expires the holds of accounts that nobody touches, those longest overdue first.
-- KEYS: meta journal due
-- ARGV: epoch at namespace limit
-- RETURNS: SWEPT posted expired more | STALE | LOAD
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard accounts expiry decide write
-- FLAGS: allow-oom
-- COST: O(limit), and O(log n) for each expired hold; every namespace is swept, one is counted, '' counts all
--@guard
--@accounts
local overdue, body = call('ZRANGE', KEYS[3], '-inf', now_text, 'BYSCORE', 'LIMIT', 0, ARGV[4]), ''
local seen
for _, path in ipairs(overdue) do touch(string.match(path, '^([^:]*):(.*)$')) end
--@expiry
--@decide
local expired = 0
for _, expiry in ipairs(expiries) do
  if ARGV[3] == '' or ARGV[3] == expiry.ns then expired = expired + 1 end
end
more = more or #overdue >= tonumber(ARGV[4])
answer = {'SWEPT', posted, text(expired), more and '1' or '0'}
-- An account whose first hold was settled early is overdue in name only; its next time is put right here.
for i = 1, #expiries == 0 and #touched or 0 do
  local account = touched[i]
  if account.next_ms then
    call('HSET', account.key, 'next_ms', text(account.next_ms))
    call('ZADD', KEYS[3], text(account.next_ms), account.path)
  else
    call('HDEL', account.key, 'next_ms')
    call('ZREM', KEYS[3], account.path)
  end
end
--@write
