UPDATE meter.losses AS loss
SET recovered = recovered + found.total
FROM (
    SELECT loss.shard, loss.epoch, loss.first_seq, count(*) AS total
    FROM unnest(%(shards)s::smallint[], %(epochs)s::integer[], %(seqs)s::bigint[]) AS late (shard, epoch, seq)
    JOIN meter.losses AS loss
        ON loss.shard = late.shard AND loss.epoch = late.epoch
       AND late.seq BETWEEN loss.first_seq AND loss.last_seq
    GROUP BY loss.shard, loss.epoch, loss.first_seq
) AS found
WHERE (loss.shard, loss.epoch, loss.first_seq) = (found.shard, found.epoch, found.first_seq)
