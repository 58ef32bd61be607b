SELECT held.namespace, held.hold_id, held.status, held.account, held.amount, held.consumed, held.created_at,
       held.expires_at, held.settled_at, held.late, held.body::text
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, hold_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM meter.holds
    WHERE namespace = wanted.namespace AND hold_id = wanted.hold_id
    OFFSET 0
) AS held
ORDER BY held.namespace, held.hold_id, held.leg
