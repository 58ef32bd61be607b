-- Those of these closings that somebody has not answered who may have acknowledged in the shard's epoch: his
-- lease ran on after it began, and he has not ended it. One is enough, of however many that were killed.
SELECT ours.shard
FROM unnest(%(shards)s::smallint[], %(fences)s::bigint[]) AS ours (shard, fence)
JOIN meter.shards AS s USING (shard)
WHERE EXISTS (
    SELECT
    FROM meter.gateways AS gateway
    LEFT JOIN meter.answers AS answer ON answer.gateway_id = gateway.gateway_id AND answer.shard = ours.shard
    WHERE gateway.lease_until > s.opened_at AND coalesce(answer.fence, -1) < ours.fence
)
