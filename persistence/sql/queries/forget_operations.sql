-- One chunk. Rows that another process is at are left to it.
DELETE FROM meter.operations
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM meter.operations
    WHERE status <> 'pending' AND answered_at < now() - make_interval(days => %(days)s)
    ORDER BY answered_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
