SELECT epoch, seq, updated_at FROM meter.shards WHERE shard = %(shard)s
