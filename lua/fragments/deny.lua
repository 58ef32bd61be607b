-- Turns what does not fit into the answer. `short` is a list, in which each lack has leg, account and needed; one that
-- is not of the balance also has reason, limit (as accounts have it), available and helps_ms (when that has enough
-- again, or nil).
-- ANSWERS: DENIED posted leg account balance reserved available needed wait_ms reason limit; wait_ms is '' when
--          waiting does not help, and available where it is balance less reserved: of a debt that may be beyond
--          what a number here says exactly
-- USES: guard accounts expiry decide
if short and not answer then
  local AGES_MS, DAY_MS, LEAP_MS = 10000000000000, 86400000, 7200000
  local first, wait_ms = short[1], 1
  for i = 1, #short do
    local lack, helps_ms = short[i], short[i].helps_ms
    -- The soonest time that may help, for what comes back by itself: holds that expire, where all of them are
    -- enough. The hold that is to be enlarged does not count, for with it goes what it asks for.
    if not lack.reason then
      local owner, needed, most = lack.account, lack.needed, lack.account.balance - (lack.own or 0)
      local rows = (needed <= most or owner.period) and call('ZRANGE', prefix .. 'holds:' .. owner.path, text(now + 1),
        '+inf', 'BYSCORE', 'LIMIT', 0, 2, 'WITHSCORES') or {}
      local expires_ms = tonumber((lack.hold and rows[1] == lack.hold.id) and rows[4] or rows[2])
      if needed <= most then helps_ms = expires_ms end
      -- Or the next period: with what is available now, or once holds have expired as well. What lapses at the end of
      -- this one does not count; nor does a period for a hold that may not be enlarged in it any more.
      local opens, ended, running, given, kept, every =
        string.match(owner.period or '', '^(%d+) %S+ %S+ %S+ (%S+) (%S+) (%d+) (%S+) %S+ (%S+)')
      local limit, closes = tonumber(kept), opens and running ~= '-' and ended < running
      if opens and opens ~= '0' and given ~= '0' and not (lack.hold and closes and limit) then
        for j = 1, expires_ms and 2 or 1 do
          local has, since_ms = j == 1 and owner.balance - owner.reserved or most, j == 1 and now or expires_ms
          local carried = closes and limit and math.min(has, limit) or has
          local openings = math.max(floor((needed - carried - 1) / given) + 1, 1)
          -- Of several openings only the first has a time that is known here; those after it come no sooner than so.
          if openings == 1 or not limit or needed <= limit + given then
            local days = ({month = 28, week = 7, day = 1})[every] or tonumber(string.match(every, '^%d+'))
            local later_ms = openings > 1 and (openings - 1) * days * DAY_MS - LEAP_MS or 0
            local then_ms = math.max(opens + later_ms, since_ms)
            if then_ms - now < AGES_MS and (not helps_ms or then_ms < helps_ms) then helps_ms = then_ms end
          end
        end
      end
    end
    -- A hold has all its legs or none, so the last of them to fit says when to ask again.
    wait_ms = wait_ms and helps_ms and math.max(wait_ms, helps_ms - now)
  end
  local account = first.account
  answer = {'DENIED', posted, text(first.leg), account.name, account.balance_text, account.reserved_text,
    first.available and text(first.available) or '', text(first.needed), wait_ms and text(wait_ms) or '',
    first.reason or 'balance', first.limit or ''}
end
