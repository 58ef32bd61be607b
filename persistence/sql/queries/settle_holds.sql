-- Moves open holds to the settled ones; the row count says how many legs were found open.
WITH found AS MATERIALIZED (
    SELECT held.place, held.account, held.user_id, held.created_at, held.body, held.seen_balance, held.seen_reserved,
           held.seen_limits, staged.*
    FROM staged_holds AS staged
    CROSS JOIN LATERAL (
        SELECT ctid AS place, *
        FROM meter.open_holds AS held
        WHERE held.namespace = staged.namespace AND held.hold_id = staged.hold_id AND held.leg = staged.leg
        OFFSET 0
    ) AS held
    WHERE staged.status <> 'active'
), moved AS (
    DELETE FROM meter.open_holds
    WHERE ctid = ANY (ARRAY(SELECT place FROM found))
)
INSERT INTO meter.settled_holds (
    namespace, hold_id, leg, account, user_id, status, amount, consumed, created_at, expires_at, settled_at,
    late, body, settled_body, seen_balance, seen_reserved, seen_limits
)
SELECT namespace, hold_id, leg, account, user_id, status, amount, consumed, created_at, expires_at, settled_at,
       late, body, settled_body, seen_balance, seen_reserved, seen_limits
FROM found
