-- Locks inboxes that have something to do and that nobody else is at, those that have waited longest first.
SELECT inbox.shard
FROM meter.inboxes AS inbox
CROSS JOIN LATERAL (
    SELECT number
    FROM meter.operations
    WHERE shard = inbox.shard AND status = 'pending'
    ORDER BY number
    LIMIT 1
) AS first
WHERE inbox.shard <> ALL (%(left_alone)s::smallint[])
ORDER BY first.number
LIMIT %(limit)s
FOR UPDATE OF inbox SKIP LOCKED
