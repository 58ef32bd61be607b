-- The last sequence of each shard's epoch that anybody says to have acknowledged.
SELECT shard, max(known.seq)
FROM meter.shards
JOIN (
    SELECT shard, epoch, seq FROM meter.answers
    UNION ALL
    SELECT shard, epoch, seq FROM meter.salvaged WHERE booked_at IS NULL
) AS known USING (shard, epoch)
WHERE shard = ANY (%(shards)s)
GROUP BY shard
