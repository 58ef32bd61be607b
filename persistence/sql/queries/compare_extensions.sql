-- Which of the told extensions are known already, and whether they are told the same.
SELECT told.namespace, told.entry_id,
       (known.hold_id, known.extended_at, known.added) = (told.hold_id, told.extended_at, told.added) AS same
FROM unnest(
    %(namespaces)s::text[], %(entry_ids)s::bigint[], %(hold_ids)s::text[], %(times)s::timestamptz[],
    %(added)s::bigint[]
) AS told (namespace, entry_id, hold_id, extended_at, added)
JOIN meter.hold_extensions AS known USING (namespace, entry_id)
