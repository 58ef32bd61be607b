-- As holds_page, of the holds that have any leg on an account of one user. Texts of a user's accounts are one
-- range, as in balances. A hold has at most 8 legs, all of which may be this user's: so many rows may be one hold.
WITH page AS (
    (
        SELECT hold_id, created_at
        FROM meter.open_holds
        WHERE cardinality(%(overdue)s::boolean[]) > 0 AND namespace COLLATE "POSIX" = %(namespace)s
          AND account >= %(first)s AND account < %(beyond)s
          AND (expires_at <= %(now)s::timestamptz) = ANY (%(overdue)s::boolean[])
          AND (created_at, hold_id) < (%(before_time)s::timestamptz, %(before_id)s)
        ORDER BY created_at DESC, hold_id DESC
        LIMIT %(limit)s * 8
    )
    UNION
    SELECT settled.hold_id, settled.created_at
    FROM unnest(%(settled)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT hold_id, created_at
        FROM meter.settled_holds
        WHERE namespace = %(namespace)s AND leg = 0 AND user_id = %(user_id)s AND status = wanted.status
          AND (created_at, hold_id) < (%(before_time)s::timestamptz, %(before_id)s)
        ORDER BY created_at DESC, hold_id DESC
        LIMIT %(limit)s
    ) AS settled
    UNION
    SELECT settled.hold_id, settled.created_at
    FROM unnest(%(settled)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT hold_id, created_at
        FROM meter.settled_holds
        WHERE namespace = %(namespace)s AND leg > 0 AND user_id = %(user_id)s AND status = wanted.status
          AND (created_at, hold_id) < (%(before_time)s::timestamptz, %(before_id)s)
        ORDER BY created_at DESC, hold_id DESC
        LIMIT %(limit)s * 8
    ) AS settled
    ORDER BY created_at DESC, hold_id DESC
    LIMIT %(limit)s
)
SELECT held.namespace, held.hold_id, held.status, held.account, held.amount, held.consumed, held.created_at,
       held.expires_at, held.settled_at, held.late, held.body::text
FROM page
JOIN meter.holds AS held ON held.namespace = %(namespace)s AND held.hold_id = page.hold_id
ORDER BY page.created_at DESC, page.hold_id DESC, held.leg
