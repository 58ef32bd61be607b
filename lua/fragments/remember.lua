-- Remembers the answer for the idempotency window and gives it.
-- ANSWERS: DONE posted id head
-- USES: guard decide write
if ARGV[4] ~= '' then call('SET', KEYS[#KEYS], ARGV[4] .. ' ' .. id .. ' ' .. head, 'PX', ARGV[5]) end
return {'DONE', posted, id, head}
