SELECT held.namespace, held.hold_id, held.status,
       (extract(epoch FROM held.expires_at) * 1000)::bigint AS expires_ms, held.amount
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, hold_id)
JOIN meter.holds AS held USING (namespace, hold_id)
ORDER BY held.namespace, held.hold_id, held.leg
