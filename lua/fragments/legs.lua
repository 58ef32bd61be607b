-- Touches the accounts of a hold that is to be made, which ARGV names with their amounts after `base` words.
-- GIVES: legs (their number)
-- USES: guard accounts
local legs = (#ARGV - base) / 2
for i = base + 1, #ARGV, 2 do touch(ARGV[3], ARGV[i]) end
if #touched + #absent ~= legs then return redis.error_reply('LEGS a hold has each account once') end
