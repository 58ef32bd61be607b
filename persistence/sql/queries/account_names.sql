SELECT account FROM meter.accounts WHERE namespace = %(namespace)s ORDER BY account
