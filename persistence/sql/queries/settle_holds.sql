-- Moves open holds to the settled ones; the row count says how many legs were found open.
WITH moved AS (
    DELETE FROM meter.open_holds AS held
    USING staged_holds AS staged
    WHERE held.namespace = staged.namespace
      AND held.hold_id = staged.hold_id
      AND held.leg = staged.leg
      AND staged.status <> 'active'
    RETURNING held.namespace, held.hold_id, held.leg, held.account, held.user_id, staged.status,
              staged.amount, staged.consumed, held.created_at, staged.expires_at, staged.settled_at,
              staged.late, held.body, staged.settled_body, held.seen_balance, held.seen_reserved,
              held.seen_limits
)
INSERT INTO meter.settled_holds (
    namespace, hold_id, leg, account, user_id, status, amount, consumed, created_at, expires_at, settled_at,
    late, body, settled_body, seen_balance, seen_reserved, seen_limits
)
SELECT namespace, hold_id, leg, account, user_id, status, amount, consumed, created_at, expires_at, settled_at,
       late, body, settled_body, seen_balance, seen_reserved, seen_limits
FROM moved
