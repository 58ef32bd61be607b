-- Remembers on the account that this day was opened or closed, and forgets days that the ledger knows.
-- USES: guard accounts decide terms once stale write
if #stale > 0 then call('HDEL', account.key, unpack(stale)) end
call('HSET', account.key, mark, id .. ' ' .. now_text .. ' ' .. head)
