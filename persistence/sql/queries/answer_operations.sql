-- Writes answers, and counts them in the inboxes, which are locked.
WITH answered AS (
    UPDATE meter.operations AS operation
    SET status = told.status, answer = told.answer::jsonb, error_code = told.error_code,
        answered_at = clock_timestamp()
    FROM unnest(%(ids)s::uuid[], %(statuses)s::text[], %(answers)s::text[], %(error_codes)s::text[])
        AS told (id, status, answer, error_code)
    WHERE operation.id = told.id AND operation.status = 'pending'
    RETURNING operation.shard, operation.status
), counted AS (
    SELECT shard, count(*) FILTER (WHERE status = 'done') AS done,
           count(*) FILTER (WHERE status = 'refused') AS refused,
           count(*) FILTER (WHERE status = 'failed') AS failed
    FROM answered
    GROUP BY shard
)
UPDATE meter.inboxes AS inbox
SET done = inbox.done + counted.done, refused = inbox.refused + counted.refused,
    failed = inbox.failed + counted.failed
FROM counted
WHERE inbox.shard = counted.shard
