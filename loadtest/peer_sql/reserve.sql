-- One statement, one transaction: lock the account's row, hold the amount if it is available.
WITH held AS (
    UPDATE peer.accounts SET reserved = reserved + %(amount)s
    WHERE account = %(account)s AND balance - reserved >= %(amount)s
    RETURNING account, balance, reserved
), made AS (
    INSERT INTO peer.holds (hold, account, amount, expires_at)
    SELECT %(hold)s, account, %(amount)s, now() + interval '5 minutes' FROM held
)
SELECT balance, reserved FROM held
