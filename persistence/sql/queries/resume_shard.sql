UPDATE meter.shards
SET stopped_at = NULL, stop_reason = NULL
WHERE shard = %(shard)s AND stop_reason IS NOT NULL
