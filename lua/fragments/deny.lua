-- Turns what does not fit into the answer. `short` is a list, in which each lack has leg, account and needed; one that
-- is not of the balance also has reason, limit (as accounts have it), available and helps_ms (when that has enough again, or nil).
-- ANSWERS: DENIED posted leg account balance reserved available needed wait_ms reason limit; wait_ms is '' when
--          waiting does not help
-- USES: guard accounts expiry decide
if short and not answer then
  local first, wait_ms = short[1], 1
  for i = 1, #short do
    local lack, helps_ms = short[i], short[i].helps_ms
    -- The soonest time that may help, for what comes back by itself: here holds that expire, where all of them are
    -- enough. The hold that is to be enlarged does not count, for with it goes what it asks for.
    if not lack.reason and lack.needed <= lack.account.balance - (lack.own or 0) then
      local rows = call('ZRANGE', prefix .. 'holds:' .. lack.account.path, text(now + 1), '+inf', 'BYSCORE',
        'LIMIT', 0, 2, 'WITHSCORES')
      helps_ms = tonumber((lack.hold and rows[1] == lack.hold.id) and rows[4] or rows[2])
    end
    -- And the next period of a schedule (see terms), which brings its allocation to what is carried over of what is
    -- free then: of all that is held, should less not be enough and no hold help alone.
    local due_text, closed, running, brings, most = string.match(not lack.reason and lack.account.period or '',
      '^(%d+) %S+ %S+ %S+ (%S+) (%S+) (%S+) (%S+)')
    if due_text and due_text ~= '0' and (not lack.hold or most == '-') then
      local carried = most ~= '-' and running ~= '-' and (closed == '-' or closed < running) and tonumber(most)
      local missing, due_ms = lack.needed - tonumber(brings), tonumber(due_text)
      local free, all = lack.account.balance - lack.account.reserved, lack.account.balance - (lack.own or 0)
      if carried then free, all = math.min(free, carried), math.min(all, carried) end
      if missing <= free then
        helps_ms = math.min(helps_ms or due_ms, due_ms)
      elseif missing <= all then
        helps_ms = helps_ms or due_ms
      end
    end
    -- A hold has all its legs or none, so the last of them to fit says when to ask again.
    wait_ms = wait_ms and helps_ms and math.max(wait_ms, helps_ms - now)
  end
  local account = first.account
  answer = {'DENIED', posted, text(first.leg), account.name, account.balance_text, account.reserved_text,
    text(first.available or account.balance - account.reserved), text(first.needed), wait_ms and text(wait_ms) or '',
    first.reason or 'balance', first.limit or ''}
end
