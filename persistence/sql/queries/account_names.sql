SELECT account
FROM meter.accounts
WHERE namespace = %(namespace)s AND account > %(after)s
ORDER BY account
LIMIT %(limit)s
