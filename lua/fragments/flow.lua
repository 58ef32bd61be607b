-- Lets flow out of a window what has had its time. A limit lets `limit` through in `window` ms; `level` of it is used,
-- less rest / span of one, as of `at`. Times count in ticks, of which a window has at most 86,400,000: so every product
-- that leaves something stays below 2^53, and what flows out is exact to the last fraction, however often it is
-- asked for.
-- GIVES: LIMIT (the pattern of one limit of an account), USED (the same, what stays the same in one piece: the terms,
--        and of these per, limit, window and mode; then level, at, rest and shadowed), spans(window): tick and span,
--        flow(limit, window, level, at, rest, moment): level, at, rest as of the moment; nil, but where an account has
--        limits
-- USES: guard accounts
local LIMIT = '([^,;]+),(%l),(%d+),(%d+),(%l),(%d+),(%d+),(%d+),(%d+),(%d+)'
local USED = '([^,;]+,(%l),(%d+),(%d+),(%l),%d+),(%d+),(%d+),(%d+),(%d+)'
local spans, flow
if limited then
  spans = function(window)
    local tick = window > 86400000 and 1000 or 1
    return tick, window / tick
  end
  flow = function(limit, window, level, at, rest, moment)
    if level == 0 or at > moment then return level, moment, 0 end
    local tick, span = spans(window)
    local ticks = floor((moment - at) / tick)
    local whole = floor(ticks / span)
    local over, part = limit % span, ticks % span
    local flowed = over * part + rest
    level = level - limit * whole - (limit - over) / span * part - floor(flowed / span)
    if level <= 0 then return 0, moment, 0 end
    return level, at + ticks * tick, flowed % span
  end
end
