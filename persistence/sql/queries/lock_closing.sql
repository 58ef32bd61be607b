SELECT s.shard, s.epoch, s.seq
FROM meter.shards AS s
JOIN unnest(%(shards)s::smallint[], %(fences)s::bigint[]) AS ours (shard, fence) USING (shard, fence)
ORDER BY s.shard
FOR UPDATE OF s
