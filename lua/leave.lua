-- Lets accounts leave Redis that hold nothing, that the ledger has whole, and that nobody has changed for long.
-- KEYS: meta journal due
-- ARGV: epoch at mark_epoch mark_seq mark_ms path...
-- RETURNS: LEFT posted now left | STALE
-- ERRORS: none
-- USES: guard
-- FLAGS: allow-oom
-- COST: O(paths)
--@guard
-- The mark is what this script told some time ago: at mark_ms the ledger had everything up to mark_seq. An
-- account that was not changed since the mark has been idle as long as that is ago.
local LEAVE_MS = 60000 -- six times the life of a load ticket: what a late loader read is never an old state
local prefix = string.sub(KEYS[3], 1, -4)
local mark, idle = tonumber(ARGV[4]), {}
local ripe = ARGV[3] == ARGV[1] and mark <= tonumber(posted) and now - tonumber(ARGV[5]) >= LEAVE_MS
for i = 6, ripe and #ARGV or 0 do
  local row = call('HMGET', prefix .. 'acct:' .. ARGV[i], 'seq', 'absent')
  if row[1] and not row[2] and tonumber(row[1]) <= mark
    and call('EXISTS', prefix .. 'holds:' .. ARGV[i]) == 0 then
    idle[#idle + 1] = ARGV[i]
  end
end
-- The clock may not fall back behind the leaving, or a ticket from before it would be young again.
if #idle > 0 and now > last_ms then call('HSET', KEYS[1], 'last_ms', now_text) end
for _, path in ipairs(idle) do
  call('UNLINK', prefix .. 'acct:' .. path)
  call('ZREM', KEYS[3], path)
end
return {'LEFT', posted, now_text, text(#idle)}
