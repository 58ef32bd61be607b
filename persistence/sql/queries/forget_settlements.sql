-- Holds that stand open because their making was posted again: forgets how they were settled, where it was
-- as is told now.
DELETE FROM meter.settled_holds
WHERE ctid = ANY (ARRAY(
    SELECT held.place
    FROM unnest(
        %(namespaces)s::text[], %(hold_ids)s::text[], %(statuses)s::text[], %(settled)s::timestamptz[]
    ) AS told (namespace, hold_id, status, settled_at)
    CROSS JOIN LATERAL (
        SELECT ctid AS place, leg, status, settled_at
        FROM meter.settled_holds
        WHERE namespace = told.namespace AND hold_id = told.hold_id
        OFFSET 0
    ) AS held
    CROSS JOIN LATERAL (
        SELECT
        FROM meter.open_holds
        WHERE namespace = told.namespace AND hold_id = told.hold_id AND leg = held.leg
        OFFSET 0
    ) AS open
    WHERE held.status = told.status AND held.settled_at = told.settled_at
))
