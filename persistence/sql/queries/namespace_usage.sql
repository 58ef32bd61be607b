-- As user_usage, of all accounts of a namespace, by what they meter. The sums of the hours say which accounts have
-- lines in a part of an hour. account is one of those that were summed up.
WITH part AS (
    SELECT start, until, hour
    FROM unnest(%(starts)s::timestamptz[], %(untils)s::timestamptz[], %(hours)s::timestamptz[])
        AS part (start, until, hour)
), span AS MATERIALIZED (
    SELECT part.start, span.low, span.high
    FROM part CROSS JOIN LATERAL meter.recorded_between(%(namespace)s, part.start, part.until) AS span
), active AS MATERIALIZED (
    SELECT found.account, part.start, part.until
    FROM part
    CROSS JOIN LATERAL (
        SELECT account
        FROM meter.usage_hourly
        WHERE namespace = %(namespace)s AND hour = part.hour AND entry_type = 'consumption'
    ) AS found
), counted AS (
    SELECT account, sum(total) AS total, sum(event_count) AS event_count
    FROM meter.usage_hourly
    WHERE namespace = %(namespace)s AND entry_type = 'consumption'
      AND hour >= %(from_hour)s::timestamptz AND hour < %(until_hour)s::timestamptz
    GROUP BY account
    UNION ALL
    SELECT active.account, sums.total, sums.event_count
    FROM active
    JOIN span ON span.start = active.start
    CROSS JOIN LATERAL (
        SELECT sum(amount) AS total, count(*) AS event_count
        FROM meter.ledger
        WHERE namespace = %(namespace)s AND account = active.account AND entry_type = 'consumption'
          AND entry_id > span.low AND entry_id <= span.high AND event_time = created_at
    ) AS sums
    UNION ALL
    SELECT active.account, sums.total, sums.event_count
    FROM active
    CROSS JOIN LATERAL (
        SELECT sum(amount) AS total, count(*) AS event_count
        FROM meter.ledger
        WHERE namespace = %(namespace)s AND account = active.account AND entry_type = 'consumption'
          AND event_time >= active.start AND event_time < active.until AND event_time <> created_at
    ) AS sums
)
SELECT min(known.account), trunc(-sum(counted.total) * 10::numeric ^ known.scale), sum(counted.event_count),
       count(DISTINCT known.user_id)
FROM counted
JOIN meter.accounts AS known ON known.namespace = %(namespace)s AND known.account = counted.account
WHERE counted.event_count > 0
GROUP BY known.event_type, known.unit, known.resource, known.scale
