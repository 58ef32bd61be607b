-- What an account had at a moment. A hold counts from its making until it was settled or its time was over,
-- whichever came first, with the amount it had then. Without an extension it lives a day at most, so holds are
-- looked for among those made in the day before, and those extended in it. Last comes until when holds that are gone
-- may have counted, where that is after the moment.
WITH alive AS (
    SELECT hold_id, leg, amount
    FROM meter.open_holds
    WHERE namespace COLLATE "POSIX" = %(namespace)s AND account = %(account)s
      AND created_at <= %(at)s::timestamptz AND expires_at > %(at)s::timestamptz
    UNION
    SELECT hold_id, leg, amount
    FROM meter.settled_holds
    WHERE namespace = %(namespace)s AND user_id = %(user_id)s::text AND leg = 0
      AND status = ANY ('{committed,released,expired}')
      AND created_at > %(at)s::timestamptz - interval '1 day' AND created_at <= %(at)s::timestamptz
      AND account = %(account)s AND settled_at > %(at)s::timestamptz AND expires_at > %(at)s::timestamptz
    UNION
    SELECT hold_id, leg, amount
    FROM meter.settled_holds
    WHERE namespace = %(namespace)s AND user_id IS NULL AND %(user_id)s::text IS NULL AND leg = 0
      AND status = ANY ('{committed,released,expired}')
      AND created_at > %(at)s::timestamptz - interval '1 day' AND created_at <= %(at)s::timestamptz
      AND account = %(account)s AND settled_at > %(at)s::timestamptz AND expires_at > %(at)s::timestamptz
    UNION
    SELECT hold_id, leg, amount
    FROM meter.settled_holds
    WHERE namespace = %(namespace)s AND account = %(account)s AND leg > 0
      AND created_at > %(at)s::timestamptz - interval '1 day' AND created_at <= %(at)s::timestamptz
      AND settled_at > %(at)s::timestamptz AND expires_at > %(at)s::timestamptz
    UNION
    SELECT held.hold_id, held.leg, held.amount
    FROM meter.hold_extensions AS grown
    JOIN meter.settled_holds AS held USING (namespace, hold_id, leg)
    WHERE grown.namespace = %(namespace)s AND grown.account = %(account)s
      AND grown.extended_at > %(at)s::timestamptz - interval '1 day' AND grown.extended_at <= %(at)s::timestamptz
      AND held.settled_at > %(at)s::timestamptz AND held.expires_at > %(at)s::timestamptz
), sized AS (
    SELECT alive.amount - coalesce(later.added, 0) AS amount
    FROM alive
    CROSS JOIN LATERAL (
        SELECT sum(grown.added) AS added
        FROM meter.hold_extensions AS grown
        WHERE grown.namespace = %(namespace)s AND grown.hold_id = alive.hold_id AND grown.leg = alive.leg
          AND grown.extended_at > %(at)s::timestamptz
    ) AS later
)
SELECT coalesce(
           meter.balance_at(%(namespace)s, %(account)s, %(at)s::timestamptz) * 10::numeric ^ known.scale, 0
       )::bigint,
       coalesce((SELECT sum(amount) FROM sized), 0)::bigint,
       CASE WHEN gone.until > %(at)s::timestamptz AND known.created_at <= %(at)s::timestamptz
            THEN gone.until::text END
FROM meter.accounts AS known
LEFT JOIN meter.dropped_holds AS gone USING (namespace, account)
WHERE known.namespace = %(namespace)s AND known.account = %(account)s
