-- One chunk. Rows that another process is at are left to it, so nobody ever waits for this. The key of an operation
-- that still waits in the inbox stays: it may have been carried out already, and nobody else would know. It was
-- recorded before its answer, so hardly ever is there one.
DELETE FROM meter.first_answers
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM meter.first_answers
    WHERE recorded_at < now() - make_interval(days => %(days)s)
      AND key <> ALL (ARRAY(
          SELECT waiting.key
          FROM meter.operations AS waiting
          WHERE waiting.status = 'pending' AND waiting.recorded_at < now() - make_interval(days => %(days)s)
      ))
    ORDER BY recorded_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
