-- Lets only those install who have read the ledger within ten seconds of finding something absent: nothing leaves
-- Redis within a minute of its last change, so what they have read cannot be an old state. The ticket, ARGV[4], is
-- the server's clock and the shard's time. Either alone may deceive: the one leaps and goes back, the other stands
-- still after the clock was ahead. A ticket of the future is as old as nobody knows.
-- ANSWERS: LATE posted, when the ticket is too old
-- USES: guard
local TICKET_MS = 10000
local took_clock, took_now = string.match(ARGV[4], '^(%d+):(%d+)$')
if math.abs(clock - tonumber(took_clock)) > TICKET_MS or now - tonumber(took_now) > TICKET_MS then
  return {'LATE', posted}
end
