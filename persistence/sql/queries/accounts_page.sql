-- So many accounts are looked at, however few of them are wanted: no page takes longer than another.
SELECT namespace, account, updated_at >= %(since)s::timestamptz
FROM meter.balances
WHERE (namespace, account) > (%(after_namespace)s, %(after_account)s)
  AND namespace <= %(last_namespace)s
ORDER BY namespace, account
LIMIT %(limit)s
