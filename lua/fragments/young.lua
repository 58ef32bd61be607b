-- Tells whether what was read of the ledger is young enough to be relied on: read within ten seconds of being asked
-- for. Nothing leaves Redis within a minute of its last change, so it cannot be an old state. A ticket is the server's
-- clock and the shard's time. Either alone may deceive: the one leaps and goes back, the other stands still after the
-- clock was ahead. A ticket of the future is as old as nobody knows.
-- GIVES: young(ticket), nothing for a text that is no ticket
-- USES: guard
local TICKET_MS = 10000
local function young(ticket)
  local took_clock, took_now = string.match(ticket, '^(%d+):(%d+)$')
  return took_now and math.abs(clock - tonumber(took_clock)) <= TICKET_MS and now - tonumber(took_now) <= TICKET_MS
end
