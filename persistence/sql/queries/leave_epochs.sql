-- Notes how far each epoch was booked, and gives its shard the next: an epoch is given once and never again.
WITH left_now AS (
    INSERT INTO meter.epochs (shard, epoch, last_seq, unheard)
    SELECT *
    FROM unnest(%(shards)s::smallint[], %(epochs)s::integer[], %(seqs)s::bigint[], %(unheard)s::boolean[])
)
UPDATE meter.shards AS s
SET epoch = ours.next_epoch, seq = -1, opened_at = now(), updated_at = now()
FROM unnest(%(shards)s::smallint[], %(next_epochs)s::integer[]) AS ours (shard, next_epoch)
WHERE s.shard = ours.shard
