SELECT shard, epoch, seq, namespace, hold_id, head, body, booked, reason, recorded_at, resolved_at, resolution
FROM meter.quarantine
WHERE resolved_at IS NULL OR %(resolved)s
ORDER BY recorded_at DESC, shard, epoch DESC, seq DESC
LIMIT %(limit)s
