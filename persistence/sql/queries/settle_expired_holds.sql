-- A commit that comes after the expiry of its hold was posted, or a release that undoes the hold. The row
-- count says how many legs are settled as told, those that were already included.
UPDATE meter.settled_holds AS held
SET status = staged.status,
    amount = staged.amount,
    consumed = staged.consumed,
    settled_at = staged.settled_at,
    late = staged.late,
    settled_body = staged.settled_body
FROM staged_holds AS staged
WHERE held.namespace = staged.namespace
  AND held.hold_id = staged.hold_id
  AND held.leg = staged.leg
  AND ((held.status = 'expired' AND staged.late AND staged.status IN ('committed', 'released'))
       OR (held.status, held.settled_at, held.consumed)
          IS NOT DISTINCT FROM (staged.status, staged.settled_at, staged.consumed))
