INSERT INTO meter.losses (shard, epoch, first_seq, last_seq, reason)
SELECT shard, epoch, first_seq, last_seq, %(reason)s
FROM unnest(
    %(shards)s::smallint[], %(epochs)s::integer[], %(firsts)s::bigint[], %(lasts)s::bigint[]
) AS lost (shard, epoch, first_seq, last_seq)
ON CONFLICT DO NOTHING
