-- Keys that are good now. The seconds left are by this server's clock, so no gateway's own can be wrong about them.
SELECT key_id, namespace, scopes, digest, extract(epoch FROM expires_at - now())::float8 AS left_s
FROM meter.api_keys
WHERE key_id = ANY (%(key_ids)s) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
