-- What each leg of a hold met when it was made. Extensions come later and are no part of it.
SELECT held.account, held.created_at,
       held.amount - coalesce((
           SELECT sum(extension.added)
           FROM meter.hold_extensions AS extension
           WHERE extension.namespace = held.namespace AND extension.hold_id = held.hold_id
             AND extension.leg = held.leg
       ), 0)::bigint,
       held.seen_balance, held.seen_reserved, held.seen_limits
FROM meter.holds AS held
WHERE held.namespace = %(namespace)s AND held.hold_id = %(hold_id)s
ORDER BY held.leg
