UPDATE meter.api_keys
SET revoked_at = now()
WHERE key_id = %(key_id)s AND revoked_at IS NULL
RETURNING number, key_id, namespace, scopes, name, created_at, created_by, expires_at, revoked_at, replaced_by
