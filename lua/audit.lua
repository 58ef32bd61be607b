-- States in the journal what Redis holds of some accounts, for the ledger to compare at exactly that place.
-- The size of a leg's hold is here the number of the account's open holds; audit_holds states these. The body has a
-- line for each leg with limits or periods: its number, its limits ('-' for none), and the words of its periods.
-- KEYS: meta journal due
-- ARGV: epoch at namespace account...
-- RETURNS: DONE posted id head body | NOTHING posted | STALE
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard
-- COST: O(accounts), however many holds they have
--@guard
local prefix = string.sub(KEYS[3], 1, -4)
local legs, terms = {}, {'terms'}
for i = 4, #ARGV do
  local path = ARGV[3] .. ':' .. ARGV[i]
  local row = call('HMGET', prefix .. 'acct:' .. path, 'balance', 'reserved', 'absent', 'limits', 'period')
  if row[1] and not row[3] then
    local open = call('ZCARD', prefix .. 'holds:' .. path)
    legs[#legs + 1] = ARGV[i] .. ' 0 0 ' .. text(open) .. ' ' .. row[1] .. ' ' .. row[2]
    local limits, period = row[4] or '', row[5] or ''
    if limits ~= '' or period ~= '' then
      -- Whatever somebody wrote there by hand stays one line.
      limits, period = string.gsub(limits, '%s', '?'), string.gsub(period, '%c', '?')
      terms[#terms + 1] = text(#legs) .. ' ' .. (limits == '' and '-' or limits) .. ' ' .. period
    end
  end
end
if #legs == 0 then return {'NOTHING', posted} end
local head = 'audit ' .. now_text .. ' ' .. ARGV[3] .. ' - 0 0 ' .. table.concat(legs, ' ')
local body = table.concat(terms, '\n')
local id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', head, 'body', body)
if now > last_ms then call('HSET', KEYS[1], 'last_ms', now_text) end
return {'DONE', posted, id, head, body}
