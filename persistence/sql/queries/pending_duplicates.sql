SELECT epoch, seq, first_epoch, first_seq, answer, found_at, namespace
FROM meter.duplicates
WHERE state = 'pending'
  AND (found_at, namespace, epoch, seq)
      > (%(after_time)s::timestamptz, %(after_namespace)s, %(after_epoch)s, %(after_seq)s)
ORDER BY found_at, namespace, epoch, seq
LIMIT %(limit)s
