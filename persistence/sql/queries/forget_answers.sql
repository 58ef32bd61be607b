-- One chunk. Rows that another process is at are left to it, so nobody ever waits for this.
DELETE FROM meter.first_answers
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM meter.first_answers
    WHERE recorded_at < now() - make_interval(days => %(days)s)
    ORDER BY recorded_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
