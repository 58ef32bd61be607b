-- Remembers the answer for the idempotency window and gives it.
-- ANSWERS: DONE posted id head
-- USES: guard replay decide write
if seen then call('SET', seen, ARGV[4] .. ' ' .. id .. ' ' .. head, 'PX', ARGV[5]) end
return {'DONE', posted, id, head}
