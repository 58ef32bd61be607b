-- Of an epoch that was left only what is not booked in it.
INSERT INTO meter.salvaged (shard, epoch, seq, head, body, key)
SELECT kept.shard, kept.epoch, kept.seq, kept.head, kept.body, kept.key
FROM unnest(
    %(shards)s::smallint[], %(epochs)s::integer[], %(seqs)s::bigint[],
    %(heads)s::text[], %(bodies)s::bytea[], %(keys)s::text[]
) AS kept (shard, epoch, seq, head, body, key)
LEFT JOIN meter.epochs AS past ON past.shard = kept.shard AND past.epoch = kept.epoch
WHERE past.shard IS NULL
   OR kept.seq > past.last_seq
   OR EXISTS (
       SELECT FROM meter.losses AS loss
       WHERE loss.shard = kept.shard AND loss.epoch = kept.epoch
         AND kept.seq BETWEEN loss.first_seq AND loss.last_seq
   )
ON CONFLICT DO NOTHING
