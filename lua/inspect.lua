-- Shows accounts and holds as they stand, and the journal's entries after a place: all of one moment.
-- KEYS: meta journal due
-- ARGV: epoch at after limit path...
-- RETURNS: SHOWN | STALE
-- ERRORS: none
-- USES: guard
-- FLAGS: allow-oom
-- COST: O(paths + their holds + entries)
--@guard
-- After SHOWN and posted come the number of entries, with id, head and body of each; then for every 'acct:' path
-- balance, reserved, what it has of periods, its limits, the number of its holds, with id and expiry of each; for
-- every 'hold:' path its six fields.
local prefix = string.sub(KEYS[3], 1, -4)
local entries = call('XRANGE', KEYS[2], '(' .. ARGV[3], '+', 'COUNT', ARGV[4])
local answer = {'SHOWN', posted, text(#entries)}
for _, entry in ipairs(entries) do
  answer[#answer + 1] = entry[1]
  local fields = entry[2] -- 'head' and head come first in every entry; 'body' and body, where there is one, last
  answer[#answer + 1] = fields[2]
  answer[#answer + 1] = fields[#fields - 1] == 'body' and fields[#fields] or ''
end
for i = 5, #ARGV do
  local key = prefix .. ARGV[i]
  if string.sub(ARGV[i], 1, 5) == 'acct:' then
    local row = call('HMGET', key, 'balance', 'reserved', 'period', 'limits')
    local holds = call('ZRANGE', prefix .. 'holds:' .. string.sub(ARGV[i], 6), 0, -1, 'WITHSCORES')
    for place = 1, 4 do answer[#answer + 1] = row[place] or '' end
    answer[#answer + 1] = text(#holds / 2)
    for _, word in ipairs(holds) do answer[#answer + 1] = word end
  else
    local row = call('HMGET', key, 'status', 'terms', 'settled_ms', 'late', 'consumed', 'body')
    for place = 1, 6 do answer[#answer + 1] = row[place] or '' end
  end
end
return answer
