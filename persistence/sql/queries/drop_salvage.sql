-- What was offered of an epoch that goes on is in the journal, and is posted from there.
DELETE FROM meter.salvaged AS salvaged
USING meter.shards AS s, unnest(%(shards)s::smallint[], %(fences)s::bigint[]) AS ours (shard, fence)
WHERE s.shard = ours.shard AND s.fence = ours.fence
  AND salvaged.shard = s.shard AND salvaged.epoch = s.epoch AND salvaged.booked_at IS NULL
