SELECT waiting.operations, waiting.oldest_s, counted.done, counted.refused, counted.failed
FROM (
    SELECT count(*) AS operations,
           coalesce(extract(epoch FROM clock_timestamp() - min(recorded_at)), 0)::float8 AS oldest_s
    FROM meter.operations
    WHERE status = 'pending'
) AS waiting
CROSS JOIN (
    SELECT sum(done)::bigint AS done, sum(refused)::bigint AS refused, sum(failed)::bigint AS failed
    FROM meter.inboxes
) AS counted
