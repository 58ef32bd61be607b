UPDATE meter.shards
SET state = %(state)s,
    closed_at = CASE WHEN %(state)s = 'closing' THEN coalesce(closed_at, now()) END,
    updated_at = now()
WHERE shard IN (SELECT shard FROM meter.shards WHERE shard = ANY (%(shards)s) ORDER BY shard FOR UPDATE)
