-- A commit that comes after the expiry of its hold was posted, or a release that undoes the hold. The row
-- count says how many legs are settled as told, those that were already included. Every row is there and is updated.
INSERT INTO meter.settled_holds AS known (
    namespace, hold_id, leg, account, status, amount, consumed, created_at, expires_at, settled_at, late, settled_body
)
SELECT held.namespace, held.hold_id, held.leg, held.account, staged.status, staged.amount, staged.consumed,
       held.created_at, held.expires_at, staged.settled_at, staged.late, staged.settled_body
FROM staged_holds AS staged
CROSS JOIN LATERAL (
    SELECT *
    FROM meter.settled_holds
    WHERE namespace = staged.namespace AND hold_id = staged.hold_id AND leg = staged.leg
    OFFSET 0
) AS held
WHERE (held.status = 'expired' AND staged.late AND staged.status IN ('committed', 'released'))
   OR (held.status, held.settled_at, held.consumed)
      IS NOT DISTINCT FROM (staged.status, staged.settled_at, staged.consumed)
ON CONFLICT (namespace, hold_id, leg) DO UPDATE
SET status = excluded.status,
    amount = excluded.amount,
    consumed = excluded.consumed,
    settled_at = excluded.settled_at,
    late = excluded.late,
    settled_body = excluded.settled_body
