SELECT held.namespace, held.hold_id, held.status,
       (extract(epoch FROM held.expires_at) * 1000)::bigint AS expires_ms, held.amount
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, hold_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM meter.holds
    WHERE namespace = wanted.namespace AND hold_id = wanted.hold_id
    OFFSET 0
) AS held
ORDER BY held.namespace, held.hold_id, held.leg
