-- Every row is there and is updated: an insert that meets it finds it by its key.
INSERT INTO meter.open_holds AS known (
    namespace, hold_id, leg, account, amount, created_at, expires_at
)
SELECT held.namespace, held.hold_id, held.leg, held.account, staged.amount, held.created_at, staged.expires_at
FROM staged_holds AS staged
CROSS JOIN LATERAL (
    SELECT *
    FROM meter.open_holds
    WHERE namespace = staged.namespace AND hold_id = staged.hold_id AND leg = staged.leg
    OFFSET 0
) AS held
WHERE staged.status = 'active'
ON CONFLICT (namespace, hold_id, leg) DO UPDATE
SET amount = excluded.amount, expires_at = excluded.expires_at
