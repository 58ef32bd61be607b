-- As ledger_page, of a window of event time: lines recorded in it, and lines that were given a time in it.
WITH line AS (
    (
        SELECT recorded.*
        FROM meter.recorded_between(%(namespace)s, %(start)s::timestamptz, %(until)s::timestamptz) AS span
        CROSS JOIN LATERAL (
            SELECT *
            FROM meter.ledger
            WHERE namespace = %(namespace)s AND account = %(account)s
              AND entry_id > span.low AND entry_id <= span.high AND entry_id < %(before_id)s
              AND event_time = created_at
            ORDER BY entry_id DESC
            LIMIT %(limit)s
        ) AS recorded
    )
    UNION ALL
    (
        SELECT *
        FROM meter.ledger
        WHERE namespace = %(namespace)s AND account = %(account)s
          AND event_time >= %(start)s::timestamptz AND event_time < %(until)s::timestamptz
          AND event_time <> created_at AND entry_id < %(before_id)s
        ORDER BY entry_id DESC
        LIMIT %(limit)s
    )
    ORDER BY entry_id DESC
    LIMIT %(limit)s
)
SELECT line.entry_id, line.entry_type,
       (line.amount * 10::numeric ^ known.scale)::bigint,
       (line.balance_after * 10::numeric ^ known.scale)::bigint,
       line.event_time, line.created_at, line.reservation_id, line.reference_id, line.actor_id,
       line.request_id, line.on_behalf_of, line.reason, line.metadata::text
FROM line
JOIN meter.accounts AS known USING (namespace, account)
ORDER BY line.entry_id DESC
