SELECT 1
FROM meter.ledger
WHERE namespace = %(namespace)s AND entry_id = %(entry_id)s
