-- A page of holds, newest first: open ones, overdue or not as wanted, and settled ones of the wanted
-- statuses, each kind straight from its index; what is not wanted is not read. Few are overdue, as a rule, and
-- these are found by their expiry.
WITH page AS (
    (
        SELECT hold_id, created_at
        FROM meter.open_holds
        WHERE false = ANY (%(overdue)s::boolean[]) AND namespace = %(namespace)s AND leg = 0
          AND expires_at > %(now)s::timestamptz
          AND (created_at, hold_id) < (%(before_time)s::timestamptz, %(before_id)s)
        ORDER BY created_at DESC, hold_id DESC
        LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT hold_id, created_at
        FROM meter.open_holds
        WHERE true = ANY (%(overdue)s::boolean[]) AND namespace = %(namespace)s AND leg = 0
          AND expires_at <= %(now)s::timestamptz
          AND (created_at, hold_id) < (%(before_time)s::timestamptz, %(before_id)s)
        ORDER BY created_at DESC, hold_id DESC
        LIMIT %(limit)s
    )
    UNION ALL
    SELECT settled.hold_id, settled.created_at
    FROM unnest(%(settled)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT hold_id, created_at
        FROM meter.settled_holds
        WHERE namespace = %(namespace)s AND leg = 0 AND status = wanted.status
          AND (created_at, hold_id) < (%(before_time)s::timestamptz, %(before_id)s)
        ORDER BY created_at DESC, hold_id DESC
        LIMIT %(limit)s
    ) AS settled
    ORDER BY created_at DESC, hold_id DESC
    LIMIT %(limit)s
)
SELECT held.namespace, held.hold_id, held.status, held.account, held.amount, held.consumed, held.created_at,
       held.expires_at, held.settled_at, held.late, held.body::text
FROM page
JOIN meter.holds AS held ON held.namespace = %(namespace)s AND held.hold_id = page.hold_id
ORDER BY page.created_at DESC, page.hold_id DESC, held.leg
