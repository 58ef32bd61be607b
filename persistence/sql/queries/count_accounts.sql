SELECT count(*)
FROM meter.accounts
WHERE namespace >= %(after_namespace)s
  AND namespace <= %(last_namespace)s
  AND updated_at >= %(since)s::timestamptz
