-- Moves open holds to the settled ones; the row count says how many legs were found open. One that is
-- settled already in the very same way counts as well.
WITH settling AS (
    SELECT *
    FROM json_to_recordset(%(rows)s::json) AS settling (
        namespace text, hold_id text, leg smallint, status text, amount bigint, consumed bigint,
        expires_at timestamptz, settled_at timestamptz, late boolean, settled_body text
    )
), moved AS (
    DELETE FROM meter.open_holds AS held
    USING settling
    WHERE held.namespace = settling.namespace
      AND held.hold_id = settling.hold_id
      AND held.leg = settling.leg
    RETURNING held.namespace, held.hold_id, held.leg, held.account, held.user_id, settling.status,
              settling.amount, settling.consumed, held.created_at, settling.expires_at, settling.settled_at,
              settling.late, held.body, settling.settled_body
)
INSERT INTO meter.settled_holds AS held (
    namespace, hold_id, leg, account, user_id, status, amount, consumed, created_at, expires_at, settled_at,
    late, body, settled_body
)
SELECT namespace, hold_id, leg, account, user_id, status, amount, consumed, created_at, expires_at, settled_at,
       late, body, settled_body::json
FROM moved
ON CONFLICT (namespace, hold_id, leg) DO UPDATE
SET status = excluded.status
WHERE (held.status, held.settled_at, held.consumed)
      IS NOT DISTINCT FROM (excluded.status, excluded.settled_at, excluded.consumed)
