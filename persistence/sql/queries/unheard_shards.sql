-- Those of these closings that somebody has not answered who may have acknowledged in the shard's epoch: his
-- lease ran on after it began, and he has not ended it.
SELECT DISTINCT ours.shard
FROM unnest(%(shards)s::smallint[], %(fences)s::bigint[]) AS ours (shard, fence)
JOIN meter.shards AS s USING (shard)
JOIN meter.gateways AS gateway ON gateway.lease_until > s.opened_at
LEFT JOIN meter.answers AS answer USING (gateway_id, shard)
WHERE coalesce(answer.fence, -1) < ours.fence
