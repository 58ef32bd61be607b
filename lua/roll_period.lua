-- Begins what the schedule of an account has begun: closes each period that is over and opens the next.
-- KEYS: meta journal due
-- ARGV: epoch at namespace account words next_ms ticket lacking (boundary_ms ended opened close_body open_body)...
-- RETURNS: ROLLED | STALE | LOAD
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard young accounts terms stale
-- COST: O(periods)
--@guard
--@young
--@accounts
-- After ROLLED and posted come the head and the body of each entry made, the id of the last and their number; nothing
-- more where `words` are not what the account has: then somebody else was first.
local MAX_AMOUNT = 9007199254740991
local account, rolled = touch(ARGV[3], ARGV[4]), nil
if not account then return {'LOAD', posted, text(clock) .. ':' .. now_text, '', unpack(absent)} end
if account.period ~= ARGV[5] then return {'ROLLED', posted} end
rolled = {'ROLLED', posted}
--@terms
--@stale
-- A day later than any is new, and the latest is not. Of those before it `lacking` has each that the ledger does not know
-- as of the ticket; what it has not heard of since, the account remembers.
if not young(ARGV[7]) then return {'ROLLED', posted} end
local function is_new(mark, day, latest)
  return day > latest or day < latest and string.find(ARGV[8], ' ' .. mark .. ' ', 1, true)
    and not call('HGET', account.key, mark)
end
-- Whoever opens or closes one of these days by hand is told of it, as the account remembers, until the ledger can tell.
local marks = {}
local ending = ' ' .. account.reserved_text
local balance, limit = account.balance, tonumber(words[8])
for i = 9, #ARGV, 5 do
  local closed_text, ended, opened = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if is_new('close:' .. ended, ended, words[5]) then
    local over = limit and math.max(balance - account.reserved - limit, UNLIMITED + 1) or UNLIMITED
    local expired, over_text = math.max(over, 0), text(over)
    balance, words[3] = balance - expired, over_text
    if ended > words[5] then words[5] = ended end
    words[2] = tonumber(closed_text) > tonumber(words[2]) and closed_text or words[2]
    marks[#rolled + 1] = 'close:' .. ended
    rolled[#rolled + 1] = 'close_period ' .. now_text .. ' ' .. ARGV[3] .. ' - ' .. words[2] .. ' 0 ' .. account.name
      .. ' ' .. text(-expired) .. ' 0 ' .. over_text .. ' ' .. text(balance) .. ending
    rolled[#rolled + 1] = ARGV[i + 3]
  end
  -- A period that was opened by hand has its allocation; a balance at the largest exact number takes no more.
  local begins = is_new('open:' .. opened, opened, words[4])
  local amount = begins and math.min(tonumber(words[7]), MAX_AMOUNT - balance) or 0
  balance, words[1], words[6] = balance + amount, ARGV[i + 5] or ARGV[6], opened
  if begins then marks[#rolled + 1] = 'open:' .. opened end
  if opened > words[4] then words[4] = opened end
  rolled[#rolled + 1] = 'open_period ' .. now_text .. ' ' .. ARGV[3] .. ' - ' .. words[1] .. ' 0 ' .. account.name
    .. ' ' .. text(amount) .. ' 0 0 ' .. text(balance) .. ending
  rolled[#rolled + 1] = ARGV[i + 4]
end
local count, id = (#rolled - 2) / 2, nil
for i = 3, #rolled, 2 do
  id = call('XADD', KEYS[2], ARGV[1] .. '-*', 'head', rolled[i], 'body', rolled[i + 1])
  if marks[i] then call('HSET', account.key, marks[i], id .. ' ' .. now_text .. ' ' .. rolled[i]) end
end
if #stale > 0 then call('HDEL', account.key, unpack(stale)) end
call('HSET', account.key, 'balance', text(balance), 'seq', string.match(id, '%d+$'), 'period', table.concat(words, ' '))
if now > last_ms then call('HSET', KEYS[1], 'last_ms', now_text) end
rolled[#rolled + 1] = id
rolled[#rolled + 1] = text(count)
return rolled
