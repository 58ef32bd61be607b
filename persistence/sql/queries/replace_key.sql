-- The old key goes on for a while, never longer than it would have anyway.
UPDATE meter.api_keys
SET replaced_by = %(replaced_by)s,
    expires_at = least(expires_at, now() + make_interval(secs => %(overlap_s)s))
WHERE key_id = %(key_id)s AND replaced_by IS NULL
  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
RETURNING key_id
