-- One chunk. Rows that another process is at are left to it, so nobody ever waits for this. The key of an operation
-- that waits in the inbox stays: it may have been carried out already, and nobody else would know.
DELETE FROM meter.first_answers
WHERE ctid = ANY (ARRAY(
    SELECT old.ctid
    FROM meter.first_answers AS old
    WHERE old.recorded_at < now() - make_interval(days => %(days)s)
      AND NOT EXISTS (
          SELECT FROM meter.operations AS waiting
          WHERE waiting.status = 'pending' AND waiting.namespace = old.namespace AND waiting.key = old.key
      )
    ORDER BY old.recorded_at
    LIMIT %(limit)s
    FOR UPDATE OF old SKIP LOCKED
))
