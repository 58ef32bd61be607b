SELECT namespace, account
FROM meter.accounts
WHERE (namespace, account) > (%(after_namespace)s, %(after_account)s)
  AND namespace <= %(last_namespace)s
  AND updated_at >= %(since)s::timestamptz
ORDER BY namespace, account
LIMIT %(limit)s
