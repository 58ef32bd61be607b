-- Reads what an account has of periods, as words: 1 when the running one is over, by its schedule (Unix ms; 0
-- without one); 2 when one was last closed (ms); 3 what was available then beyond the carry-over limit, moved by
-- each hold of that time that settles: what is above zero has lapsed, -9007199254740991 is no limit; 4 the latest
-- period_start that was opened; 5 the latest period_end that was closed; 6 the start of the scheduled period that
-- runs; 7 allocation and 8 carry-over limit, scaled; 9 anchor, 10 every and 11 time zone of the schedule. A word
-- that says nothing is '-'.
-- GIVES: words, UNLIMITED
-- USES: guard accounts
local UNLIMITED, words = -9007199254740991, {}
for word in string.gmatch(account.period or '0 0 -9007199254740991 - - - - - - - -', '%S+') do
  words[#words + 1] = word
end
