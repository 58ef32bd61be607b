-- Accounts of one user: their texts all begin with the user's name and a colon (the pool's with the colon),
-- and the character after the colon is the semicolon.
SELECT account, balance, reserved
FROM meter.balances
WHERE namespace = %(namespace)s AND account >= %(first)s AND account < %(beyond)s
ORDER BY account
