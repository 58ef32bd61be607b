-- Decides what limits say to `spends`, a list of leg, account (one that has limits) and amount, each of `requests`
-- requests; `making` is 1 where a hold is made, else nil. What an enforced limit has no room for is added to `short`;
-- a shadow limit counts what it would refuse, and lets it pass uncounted. Unless `checked`, all is counted and nothing
-- refused.
-- GIVES: counts (list of leg, account and its limits after), uncounted (the shadow limits that this passes by)
-- USES: guard accounts expiry decide flow
local LONGEST_MS = 10000000000000
local counts, lacks, uncounted, worst = limited and {}, limited and {}, '', nil
for i = 1, limited and not answer and #spends or 0 do
  local leg, account, own, counted = spends[i].leg, spends[i].account, {}, false
  for terms, per, limit_text, window_text, mode, level, at, rest, shadowed in string.gmatch(account.limits, USED) do
    local limit, window, full, lack = tonumber(limit_text), tonumber(window_text), false, nil
    local needed = per == 'a' and spends[i].amount or per == 'r' and requests or per == 'c' and making or 0
    level, at, rest = tonumber(level), tonumber(at), tonumber(rest)
    if needed > 0 and per == 'c' then
      level, at = call('ZCOUNT', prefix .. 'holds:' .. account.path, text(now + 1), '+inf'), now
      full = checked and level >= limit
    elseif needed > 0 then
      level, at, rest = flow(limit, window, level, at, rest, now)
      full = checked and level + needed > limit
    end
    counted = counted or needed > 0
    local met = mode ~= 'e' and (full and 'w' or 's') or 'e'
    if met ~= mode then terms = string.gsub(terms, ',' .. mode .. ',', ',' .. met .. ',') end
    if met == 'w' then
      shadowed = text(shadowed + 1)
      uncounted = uncounted .. ' ' .. text(leg) .. '=' .. string.match(terms, '^[^,]+') .. ' '
    elseif full then
      local helps_ms
      if per == 'c' then
        local rows = call('ZRANGE', prefix .. 'holds:' .. account.path, text(now + 1), '+inf', 'BYSCORE',
          'LIMIT', text(level - limit), 1, 'WITHSCORES')
        helps_ms = tonumber(rows[2])
      elseif needed <= limit then
        -- A double says when to a tick or two; `flow` says it exactly.
        local tick, span = spans(window)
        local ticks = math.max(floor((level + needed - limit) / limit * span - rest / limit) - 2, 0)
        while ticks * tick < LONGEST_MS and not helps_ms do
          ticks = ticks + 1
          local then_ms = at + ticks * tick
          if flow(limit, window, level, at, rest, then_ms) + needed <= limit then helps_ms = then_ms end
        end
      end
      lack = {
        leg = leg, account = account, needed = needed, reason = per == 'c' and 'concurrency' or 'limit',
        available = math.max(limit - level, 0), helps_ms = helps_ms,
      }
      lacks[#lacks + 1] = lack
      if not worst or worst.helps_ms and (not helps_ms or helps_ms > worst.helps_ms) then worst = lack end
    elseif per ~= 'c' then
      level = math.min(level + needed, MAX_AMOUNT)
    end
    own[#own + 1] = terms .. ',' .. text(level) .. ',' .. (at == now and now_text or text(at)) .. ',' .. text(rest) .. ','
      .. shadowed
    if lack then lack.limit = own[#own] end
  end
  if counted then counts[#counts + 1] = {leg = leg, account = account, limits = table.concat(own, ';')} end
end
-- Of the limits that refuse, the one that is longest in the way is named.
if worst then
  short = short or {worst}
  for i = 1, #lacks do short[#short + 1] = lacks[i] end
end
