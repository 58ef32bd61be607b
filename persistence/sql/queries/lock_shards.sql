SELECT shard, epoch, seq, fence
FROM meter.shards
WHERE shard = ANY (%(shards)s)
ORDER BY shard
FOR UPDATE SKIP LOCKED
