-- States in the journal how some holds stand on their accounts, for the ledger to compare at exactly that place.
-- KEYS: meta journal due
-- ARGV: epoch at namespace (account hold_id)...
-- RETURNS: DONE posted id head body | NOTHING posted | STALE
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard accounts told
-- COST: O(holds * log n) for n open holds of an account
--@guard
--@accounts
--@told
local words = {}
for i = 4, #ARGV, 2 do
  local account = touch(ARGV[3], ARGV[i])
  if account and not account.absent then
    local id = ARGV[i + 1]
    local listed, amount = told(account.path, account.name, id)
    words[#words + 1] = account.name .. ' ' .. id .. ' ' .. listed .. ' ' .. amount
  end
end
if #words == 0 then return {'NOTHING', posted} end
local head, body = 'audit ' .. now_text .. ' ' .. ARGV[3] .. ' - 0 0', table.concat(words, ' ')
local entry = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', head, 'body', body)
if now > last_ms then call('HSET', KEYS[1], 'last_ms', now_text) end
return {'DONE', posted, entry, head, body}
