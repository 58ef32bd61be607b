-- After the staged answers were kept: those whose key had been taken at another place of the journal.
INSERT INTO meter.duplicates (namespace, epoch, seq, first_epoch, first_seq, key, answer, state)
SELECT staged.namespace, staged.epoch, staged.seq, first.epoch, first.seq, staged.key, staged.answer,
       CASE WHEN staged.fingerprint = first.fingerprint THEN 'pending' ELSE 'kept' END
FROM staged_answers AS staged
CROSS JOIN LATERAL (
    SELECT fingerprint, epoch, seq
    FROM meter.first_answers
    WHERE namespace = staged.namespace AND key = staged.key
    OFFSET 0
) AS first
WHERE (staged.epoch, staged.seq) <> (first.epoch, first.seq)
ON CONFLICT DO NOTHING
RETURNING namespace, epoch, seq, first_epoch, first_seq, state
