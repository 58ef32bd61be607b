-- What the accounts of one user consumed: whole hours from their sums, parts of hours from their lines. Of a part
-- there are two kinds of lines: those recorded in it, and those that were given a time in it.
WITH known AS (
    SELECT account, scale
    FROM meter.accounts
    WHERE namespace = %(namespace)s AND account >= %(first)s AND account < %(beyond)s
), part AS (
    SELECT start, until FROM unnest(%(starts)s::timestamptz[], %(untils)s::timestamptz[]) AS part (start, until)
), span AS MATERIALIZED (
    SELECT span.low, span.high
    FROM part CROSS JOIN LATERAL meter.recorded_between(%(namespace)s, part.start, part.until) AS span
), counted AS (
    SELECT known.account, known.scale, sums.total, sums.event_count
    FROM known
    CROSS JOIN LATERAL (
        SELECT sum(total) AS total, sum(event_count) AS event_count
        FROM meter.usage_hourly
        WHERE namespace = %(namespace)s AND account = known.account AND entry_type = 'consumption'
          AND hour >= %(from_hour)s::timestamptz AND hour < %(until_hour)s::timestamptz
    ) AS sums
    UNION ALL
    SELECT known.account, known.scale, sums.total, sums.event_count
    FROM known
    CROSS JOIN span
    CROSS JOIN LATERAL (
        SELECT sum(amount) AS total, count(*) AS event_count
        FROM meter.ledger
        WHERE namespace = %(namespace)s AND account = known.account AND entry_type = 'consumption'
          AND entry_id > span.low AND entry_id <= span.high AND event_time = created_at
    ) AS sums
    UNION ALL
    SELECT known.account, known.scale, sums.total, sums.event_count
    FROM known
    CROSS JOIN part
    CROSS JOIN LATERAL (
        SELECT sum(amount) AS total, count(*) AS event_count
        FROM meter.ledger
        WHERE namespace = %(namespace)s AND account = known.account AND entry_type = 'consumption'
          AND event_time >= part.start AND event_time < part.until AND event_time <> created_at
    ) AS sums
)
SELECT account, trunc(-sum(total) * 10::numeric ^ scale), sum(event_count), 1
FROM counted
WHERE event_count > 0
GROUP BY account, scale
