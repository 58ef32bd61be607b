-- Gives back to the windows of a hold's accounts what it counted and did not use: `back` of each leg, of which as much
-- as would have flowed out by now is gone, and `requests`. What was used beyond the hold is counted now. A hold that
-- was made before a limit, or that a shadow limit would have refused, was not counted there.
-- GIVES: counts (list of leg, account and its limits after)
-- USES: guard accounts hold expiry decide flow
local counts = limited and {}
if limited and not answer then
  local uncounted, created = call('HGET', KEYS[4], 'uncounted') or '', tonumber(hold.created_text)
  for i = 1, #hold.legs do
    local account, own, counted = hold.legs[i].account, {}, false
    for name, per, limit_text, window_text, mode, since, level, at, rest, shadowed
      in string.gmatch(account.limits or '', LIMIT) do
      local back, limit = per == 'a' and hold.legs[i].back or per == 'r' and requests or 0, tonumber(limit_text)
      local passed_by = created < tonumber(since) or string.find(uncounted, ' ' .. text(i) .. '=' .. name .. ' ', 1, true)
      if back ~= 0 and not passed_by then
        local window = tonumber(window_text)
        local tick, span = spans(window)
        counted = true
        level, at, rest = flow(limit, window, tonumber(level), tonumber(at), tonumber(rest), now)
        local ticks = math.max(math.ceil((now - created) / tick), 0)
        local whole, over, part = floor(ticks / span), limit % span, ticks % span
        if back < 0 then
          level = math.min(level - back, MAX_AMOUNT)
        else
          back = back - limit * whole - (limit - over) / span * part - floor(over * part / span)
          if back > 0 then level, rest = level - back, rest - over * part % span end
          if rest < 0 then level, rest = level + 1, rest + span end
          if level <= 0 then level, at, rest = 0, now, 0 end
        end
        level, at, rest = text(level), text(at), text(rest)
      end
      if mode == 'w' then mode = 's' end
      own[#own + 1] = name .. ',' .. per .. ',' .. limit_text .. ',' .. window_text .. ',' .. mode .. ',' .. since .. ','
        .. level .. ',' .. at .. ',' .. rest .. ',' .. shadowed
    end
    if counted then counts[#counts + 1] = {leg = i, account = account, limits = table.concat(own, ';')} end
  end
end
