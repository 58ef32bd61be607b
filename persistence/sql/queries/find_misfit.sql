-- After the staged changes were tried: one that does not fit the hold the ledger knows.
SELECT staged.namespace, staged.hold_id, staged.status, held.status
FROM staged_holds AS staged
LEFT JOIN LATERAL (
    SELECT status, consumed, settled_at
    FROM meter.holds
    WHERE namespace = staged.namespace AND hold_id = staged.hold_id AND leg = staged.leg
    OFFSET 0
) AS held ON true
WHERE held.status IS DISTINCT FROM staged.status
   OR (staged.status <> 'active'
       AND (held.consumed, held.settled_at) IS DISTINCT FROM (staged.consumed, staged.settled_at))
LIMIT 1
