SELECT number, key_id, namespace, scopes, name, created_at, created_by, expires_at, revoked_at, replaced_by
FROM meter.api_keys
WHERE number < %(before)s AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
ORDER BY number DESC
LIMIT %(limit)s
