UPDATE meter.duplicates AS done_twice
SET state = 'undone', undone_epoch = told.undone_epoch, undone_seq = told.undone_seq, undone_at = told.undone_at
FROM unnest(
    %(namespaces)s::text[], %(epochs)s::integer[], %(seqs)s::bigint[], %(undone_epochs)s::integer[],
    %(undone_seqs)s::bigint[], %(undone_at)s::timestamptz[]
) AS told (namespace, epoch, seq, undone_epoch, undone_seq, undone_at)
WHERE done_twice.namespace = told.namespace
  AND done_twice.epoch = told.epoch
  AND done_twice.seq = told.seq
  AND done_twice.state = 'pending'
