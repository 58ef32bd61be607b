INSERT INTO meter.api_keys (key_id, digest, namespace, scopes, name, created_by, expires_at)
VALUES (%(key_id)s, %(digest)s, %(namespace)s, %(scopes)s, %(name)s, %(created_by)s, %(expires_at)s)
RETURNING number, key_id, namespace, scopes, name, created_at, created_by, expires_at, revoked_at, replaced_by
