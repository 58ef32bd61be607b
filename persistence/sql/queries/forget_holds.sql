WITH gone AS (
    SELECT * FROM unnest(%(namespaces)s::text[], %(hold_ids)s::text[]) AS gone (namespace, hold_id)
), gone_open AS (
    DELETE FROM meter.open_holds
    WHERE ctid = ANY (ARRAY(
        SELECT held.place
        FROM gone
        CROSS JOIN LATERAL (
            SELECT ctid AS place
            FROM meter.open_holds
            WHERE namespace = gone.namespace AND hold_id = gone.hold_id
            OFFSET 0
        ) AS held
    ))
)
DELETE FROM meter.settled_holds
WHERE ctid = ANY (ARRAY(
    SELECT held.place
    FROM gone
    CROSS JOIN LATERAL (
        SELECT ctid AS place
        FROM meter.settled_holds
        WHERE namespace = gone.namespace AND hold_id = gone.hold_id
        OFFSET 0
    ) AS held
))
