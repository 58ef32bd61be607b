-- A commit that comes after the expiry of its hold was posted. The row count says how many legs are settled
-- as told, those that were already included.
UPDATE meter.settled_holds AS held
SET status = settling.status,
    amount = settling.amount,
    consumed = settling.consumed,
    settled_at = settling.settled_at,
    late = settling.late,
    settled_body = settling.settled_body::json
FROM json_to_recordset(%(rows)s::json) AS settling (
    namespace text, hold_id text, leg smallint, status text, amount bigint, consumed bigint,
    expires_at timestamptz, settled_at timestamptz, late boolean, settled_body text
)
WHERE held.namespace = settling.namespace
  AND held.hold_id = settling.hold_id
  AND held.leg = settling.leg
  AND ((held.status, settling.status) = ('expired', 'committed')
       OR (held.status, held.settled_at, held.consumed)
          IS NOT DISTINCT FROM (settling.status, settling.settled_at, settling.consumed))
