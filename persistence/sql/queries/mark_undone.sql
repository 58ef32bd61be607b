-- Every row is there and is updated, once, however many undid it: the first of them counts.
INSERT INTO meter.duplicates AS known (
    namespace, epoch, seq, first_epoch, first_seq, key, answer, state, undone_epoch, undone_seq, undone_at
)
SELECT DISTINCT ON (told.namespace, told.epoch, told.seq)
       told.namespace, told.epoch, told.seq, done_twice.first_epoch, done_twice.first_seq, done_twice.key,
       done_twice.answer, 'undone', told.undone_epoch, told.undone_seq, told.undone_at
FROM unnest(
    %(namespaces)s::text[], %(epochs)s::integer[], %(seqs)s::bigint[], %(undone_epochs)s::integer[],
    %(undone_seqs)s::bigint[], %(undone_at)s::timestamptz[]
) AS told (namespace, epoch, seq, undone_epoch, undone_seq, undone_at)
CROSS JOIN LATERAL (
    SELECT *
    FROM meter.duplicates
    WHERE namespace = told.namespace AND epoch = told.epoch AND seq = told.seq
    OFFSET 0
) AS done_twice
WHERE done_twice.state = 'pending'
ORDER BY told.namespace, told.epoch, told.seq, told.undone_epoch, told.undone_seq
ON CONFLICT (namespace, epoch, seq) DO UPDATE
SET state = excluded.state,
    undone_epoch = excluded.undone_epoch,
    undone_seq = excluded.undone_seq,
    undone_at = excluded.undone_at
