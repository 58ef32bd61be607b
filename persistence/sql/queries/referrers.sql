SELECT reference_id, entry_id
FROM meter.ledger
WHERE namespace = %(namespace)s AND reference_id = ANY (%(entries)s::bigint[])
ORDER BY reference_id, entry_id
