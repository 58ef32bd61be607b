SELECT namespace, account, due_at
FROM meter.periods
WHERE due_at <= %(upto)s::timestamptz
  AND (due_at, namespace, account) > (%(after_time)s::timestamptz, %(after_namespace)s, %(after_account)s)
ORDER BY due_at, namespace, account
LIMIT %(limit)s
