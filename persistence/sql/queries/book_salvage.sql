UPDATE meter.salvaged AS salvaged
SET booked_at = now(), booked_epoch = booked.booked_epoch, booked_seq = booked.booked_seq
FROM unnest(
    %(shards)s::smallint[], %(epochs)s::integer[], %(seqs)s::bigint[],
    %(booked_epochs)s::integer[], %(booked_seqs)s::bigint[]
) AS booked (shard, epoch, seq, booked_epoch, booked_seq)
WHERE salvaged.shard = booked.shard AND salvaged.epoch = booked.epoch AND salvaged.seq = booked.seq
