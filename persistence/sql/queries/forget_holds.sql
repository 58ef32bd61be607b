WITH gone AS (
    SELECT * FROM unnest(%(namespaces)s::text[], %(hold_ids)s::text[]) AS gone (namespace, hold_id)
), gone_open AS (
    DELETE FROM meter.open_holds AS held
    USING gone
    WHERE held.namespace = gone.namespace AND held.hold_id = gone.hold_id
)
DELETE FROM meter.settled_holds AS held
USING gone
WHERE held.namespace = gone.namespace AND held.hold_id = gone.hold_id
