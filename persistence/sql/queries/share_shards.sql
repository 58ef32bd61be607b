-- While a gateway offers what it kept, nobody leaves the epoch it is of.
SELECT shard, epoch, state, fence
FROM meter.shards
WHERE shard = ANY (%(shards)s)
ORDER BY shard
FOR SHARE
