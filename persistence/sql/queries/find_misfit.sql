-- After the staged changes were tried: one that does not fit the hold the ledger knows.
SELECT staged.namespace, staged.hold_id, staged.status, held.status
FROM staged_holds AS staged
LEFT JOIN meter.holds AS held USING (namespace, hold_id, leg)
WHERE held.status IS DISTINCT FROM staged.status
   OR (staged.status <> 'active'
       AND (held.consumed, held.settled_at) IS DISTINCT FROM (staged.consumed, staged.settled_at))
LIMIT 1
