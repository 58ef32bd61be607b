-- Remembers the answer for the idempotency window and gives it.
-- ANSWERS: DONE posted id head
-- USES: guard replay decide write
if seen then call('SET', seen, ARGV[4] .. ' ' .. id .. ' ' .. head, 'PX', ARGV[5]) end
local done = {'DONE', posted, id, head}
for i = 1, tail and #tail or 0 do done[#done + 1] = tail[i] end
return done
