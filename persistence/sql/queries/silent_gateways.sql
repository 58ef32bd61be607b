-- Gateways with a living lease that have not answered every one of these closings.
SELECT count(DISTINCT gateway.gateway_id)
FROM meter.gateways AS gateway
CROSS JOIN unnest(%(shards)s::smallint[], %(fences)s::bigint[]) AS ours (shard, fence)
LEFT JOIN meter.answers AS answer USING (gateway_id, shard)
WHERE gateway.lease_until > clock_timestamp()
  AND coalesce(answer.fence, -1) < ours.fence
