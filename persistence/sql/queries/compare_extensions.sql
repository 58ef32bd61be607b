-- Which of the told extensions are known already, and whether they are told the same.
SELECT told.namespace, told.entry_id,
       (known.hold_id, known.extended_at, known.added) = (told.hold_id, told.extended_at, told.added) AS same
FROM unnest(
    %(namespaces)s::text[], %(entry_ids)s::bigint[], %(hold_ids)s::text[], %(times)s::timestamptz[],
    %(added)s::bigint[]
) AS told (namespace, entry_id, hold_id, extended_at, added)
CROSS JOIN LATERAL (
    SELECT hold_id, extended_at, added
    FROM meter.hold_extensions
    WHERE namespace = told.namespace AND entry_id = told.entry_id
    OFFSET 0
) AS known
