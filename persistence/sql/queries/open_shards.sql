UPDATE meter.shards AS s
SET state = 'open', closed_at = NULL, reason = NULL, run_id = %(run_id)s, updated_at = now()
FROM unnest(%(shards)s::smallint[], %(fences)s::bigint[]) AS ours (shard, fence)
WHERE s.shard = ours.shard AND s.fence = ours.fence
RETURNING s.shard
