-- The oldest operations of inboxes that are locked. A statement of its own: it must see what those who had them
-- before have answered.
SELECT found.id::text, found.namespace, found.full_namespace, found.verb, found.arguments::text,
       found.actor::text, found.key, extract(epoch FROM clock_timestamp() - found.recorded_at)::float8
FROM unnest(%(shards)s::smallint[]) AS taken (shard)
CROSS JOIN LATERAL (
    SELECT *
    FROM meter.operations
    WHERE shard = taken.shard AND status = 'pending'
    ORDER BY number
    LIMIT %(limit)s
) AS found
ORDER BY found.number
