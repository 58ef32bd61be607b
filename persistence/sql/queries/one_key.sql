SELECT number, key_id, namespace, scopes, name, created_at, created_by, expires_at, revoked_at, replaced_by
FROM meter.api_keys
WHERE key_id = %(key_id)s
