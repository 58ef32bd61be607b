-- Which of the told holds exist already, and whether they were made the same.
SELECT told.namespace, told.hold_id,
       (held.account, held.created_at) IS NOT DISTINCT FROM (told.account, told.created_at) AS same
FROM unnest(
    %(namespaces)s::text[], %(hold_ids)s::text[], %(accounts)s::text[], %(created)s::timestamptz[]
) AS told (namespace, hold_id, account, created_at)
CROSS JOIN LATERAL (
    SELECT leg, account, created_at
    FROM meter.holds
    WHERE namespace = told.namespace AND hold_id = told.hold_id
    OFFSET 0
) AS held
WHERE held.leg = 0
