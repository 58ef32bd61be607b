-- Lets nothing be decided in a period that is over: the gateway, which knows the calendar, begins the next one
-- (roll_period) and calls again.
-- ANSWERS: DUE posted ticket (path words)..., when the period of an account that was touched is over; the ticket is the
--          server's clock and the shard's time
-- USES: guard accounts expiry
if due then return {'DUE', posted, text(clock) .. ':' .. now_text, unpack(due)} end
