UPDATE meter.shards
SET epoch = epoch + 1, seq = -1, updated_at = now()
WHERE shard IN (SELECT shard FROM meter.shards WHERE shard = ANY (%(shards)s) ORDER BY shard FOR UPDATE)
RETURNING shard, epoch
