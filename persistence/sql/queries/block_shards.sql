UPDATE meter.shards SET reason = %(reason)s, updated_at = now()
WHERE shard = %(shard)s AND fence = %(fence)s
