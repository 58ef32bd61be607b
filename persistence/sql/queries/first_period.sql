SELECT epoch, seq, recorded_at, expires_at, amount, over_limit, balance, reserved
FROM meter.period_days
WHERE namespace = %(namespace)s AND account = %(account)s AND kind = %(kind)s AND day = %(day)s
