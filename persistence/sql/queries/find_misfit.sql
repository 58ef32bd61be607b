-- After the staged changes were tried: one that did not fit the hold the ledger knows.
SELECT staged.namespace, staged.hold_id, staged.status, held.status
FROM staged_holds AS staged
LEFT JOIN meter.holds AS held USING (namespace, hold_id, leg)
WHERE held.status IS DISTINCT FROM staged.status
   OR held.consumed IS DISTINCT FROM staged.consumed
LIMIT 1
