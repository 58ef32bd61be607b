-- The first of some hours of which a report has to read the lines, and of which lines are gone: more were summed up
-- than are there. Only hours that lines of dropped months could belong to are looked at.
WITH part AS (
    SELECT DISTINCT hour
    FROM unnest(%(hours)s::timestamptz[]) AS part (hour)
    WHERE hour <= (SELECT max(last_event_time) FROM meter.dropped_months)
), span AS MATERIALIZED (
    SELECT part.hour, span.low, span.high
    FROM part CROSS JOIN LATERAL meter.recorded_between(%(namespace)s, hour, hour + interval '1 hour') AS span
)
SELECT min(summed.hour)
FROM part
JOIN meter.usage_hourly AS summed ON summed.hour = part.hour
CROSS JOIN LATERAL (
    SELECT count(*) AS lines
    FROM span
    JOIN meter.ledger AS line
        ON line.namespace = %(namespace)s AND line.account = summed.account AND line.entry_type = 'consumption'
       AND line.entry_id > span.low AND line.entry_id <= span.high AND line.event_time = line.created_at
    WHERE span.hour = summed.hour
) AS recorded
CROSS JOIN LATERAL (
    SELECT count(*) AS lines
    FROM meter.ledger AS line
    WHERE line.namespace = %(namespace)s AND line.account = summed.account AND line.entry_type = 'consumption'
      AND line.event_time >= summed.hour AND line.event_time < summed.hour + interval '1 hour'
      AND line.event_time <> line.created_at
) AS dated
WHERE summed.namespace = %(namespace)s AND summed.entry_type = 'consumption'
  AND summed.account >= %(first)s AND summed.account < %(beyond)s
  AND summed.event_count > recorded.lines + dated.lines
