-- Whether what the ledger does not know of a hold may be in quarantine.
SELECT 1
FROM meter.quarantine
WHERE shard = %(shard)s
  AND epoch <= %(epoch)s
  AND booked <> 'without_body'
  AND (hold_id IS NULL OR (hold_id = %(hold_id)s AND namespace = %(namespace)s))
LIMIT 1
