UPDATE meter.quarantine
SET resolved_at = now(), resolution = %(resolution)s
WHERE shard = %(shard)s AND epoch = %(epoch)s AND seq = %(seq)s AND resolved_at IS NULL
