-- States in the journal what Redis holds of some accounts, for the ledger to compare at exactly that place.
-- The size of a leg's hold is here the number of the account's open holds; audit_holds states these.
-- KEYS: meta journal due
-- ARGV: epoch at namespace account...
-- RETURNS: DONE posted id head | NOTHING posted | STALE
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard
-- COST: O(accounts), however many holds they have
--@guard
local prefix = string.sub(KEYS[3], 1, -4)
local legs = {}
for i = 4, #ARGV do
  local path = ARGV[3] .. ':' .. ARGV[i]
  local row = call('HMGET', prefix .. 'acct:' .. path, 'balance', 'reserved', 'absent')
  if row[1] and not row[3] then
    local open = call('ZCARD', prefix .. 'holds:' .. path)
    legs[#legs + 1] = ARGV[i] .. ' 0 0 ' .. text(open) .. ' ' .. row[1] .. ' ' .. row[2]
  end
end
if #legs == 0 then return {'NOTHING', posted} end
local head = 'audit ' .. now_text .. ' ' .. ARGV[3] .. ' - 0 0 ' .. table.concat(legs, ' ')
local id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', head)
if now > last_ms then call('HSET', KEYS[1], 'last_ms', now_text) end
return {'DONE', posted, id, head}
