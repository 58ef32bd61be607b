-- Sets or drops a limit of an account, for the next decision on it to see. It decides nothing about the balance, so a
-- period that is over stays so until the next decision.
-- KEYS: meta journal due [seen]
-- ARGV: epoch at namespace fingerprint seen_ms account name terms body
-- RETURNS: DONE posted id head | NOTHING posted | FULL posted | REPLAYED posted id head
--          | MISMATCH | STALE | LOAD | AGAIN
-- ERRORS: none of its own; XADD refuses an epoch that has been left
-- USES: guard replay accounts expiry decide flow count write remember
-- COST: O(limits), and O(log n) for each expired hold of the account
--@guard
--@replay
--@accounts
local account, body = touch(ARGV[3], ARGV[6]), ARGV[9]
--@expiry
--@decide
--@flow
-- The terms are per, limit, window and mode, or '' to drop it. A limit that is set again keeps what is used of it,
-- unless it counts something else now.
local LIMITS = 16
local PARTS = '^([^,]+),((%l),(%d+),(%d+),%l),(%d+),(%d+),(%d+),(%d+),(%d+)$'
local own, before, same = {}, nil, false
for limit in string.gmatch(account.limits or '', '[^;]+') do
  if string.match(limit, '^[^,]+') == ARGV[7] then before = limit else own[#own + 1] = limit end
end
local counts = {{leg = 1, account = account, limits = ''}}
local next_text = text(now + 1)
if ARGV[8] ~= '' then
  local per, _, window_text, mode = string.match(ARGV[8], '^(%l),(%d+),(%d+),(%l)$')
  local since, level, at, rest, shadowed = next_text, '0', next_text, '0', '0'
  if before then
    local _, terms, old_per, old_limit, old_window, old_since, old_level, old_at, old_rest, old_shadowed =
      string.match(before, PARTS)
    same = string.gsub(terms, 'w$', 's') == ARGV[8]
    if old_per == per then
      since, level = old_since, old_level
      if per ~= 'c' then
        local used, used_at, part = flow(tonumber(old_limit), tonumber(old_window), tonumber(old_level),
          tonumber(old_at), tonumber(old_rest), now)
        level, at, rest = text(used), text(used_at), old_window == window_text and text(part) or '0'
      end
      if mode == 's' and string.find(terms, '[sw]$') then shadowed = old_shadowed end
    end
  end
  own[#own + 1] = ARGV[7] .. ',' .. ARGV[8] .. ',' .. since .. ',' .. level .. ',' .. at .. ',' .. rest .. ',' .. shadowed
end
if same or ARGV[8] == '' and not before then answer = answer or {'NOTHING', posted} end
if #own > LIMITS and not before then answer = answer or {'FULL', posted} end
counts[1].limits = table.concat(own, ';')
if not answer then
  head = 'limit ' .. now_text .. ' ' .. ARGV[3] .. ' - 0 0 ' .. account.name .. ' 0 0 0 ' .. account.balance_text .. ' '
    .. account.reserved_text
end
limited = true
--@count
--@write
if account.limits == '' then call('HDEL', account.key, 'limits') end
-- A hold of this very millisecond was made before; what is made from here on is later.
call('HSET', KEYS[1], 'last_ms', next_text)
--@remember
