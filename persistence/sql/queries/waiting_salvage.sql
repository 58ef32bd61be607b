SELECT shard, epoch, seq, head, body, key
FROM meter.salvaged
WHERE shard = ANY (%(shards)s) AND booked_at IS NULL
ORDER BY shard, epoch, seq
