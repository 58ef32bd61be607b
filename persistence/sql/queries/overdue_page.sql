SELECT namespace, account, expires_at, hold_id
FROM meter.open_holds
WHERE leg = 0
  AND expires_at <= %(upto)s::timestamptz
  AND (expires_at, namespace, hold_id) > (%(after_time)s::timestamptz, %(after_namespace)s, %(after_id)s)
ORDER BY expires_at, namespace, hold_id
LIMIT %(limit)s
