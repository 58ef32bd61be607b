-- Remembers the answer for the idempotency window and gives it.
-- ANSWERS: DONE posted id head
-- USES: guard decide write
if ARGV[4] ~= '' then call('SET', KEYS[#KEYS], ARGV[4] .. ' ' .. id .. ' ' .. head, 'PX', ARGV[5]) end
local done = {'DONE', posted, id, head}
for i = 1, tail and #tail or 0 do done[#done + 1] = tail[i] end
return done
