SELECT epoch, seq, first_epoch, first_seq, answer
FROM meter.duplicates
WHERE state = 'pending'
ORDER BY found_at, epoch, seq
LIMIT %(limit)s
