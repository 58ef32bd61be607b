-- In the order of the journal, so that of two calls with one key in a batch the earlier one is the first.
INSERT INTO meter.first_answers (namespace, key, fingerprint, epoch, seq, answer)
SELECT namespace, key, fingerprint, epoch, seq, answer
FROM staged_answers
ORDER BY epoch, seq
ON CONFLICT DO NOTHING
