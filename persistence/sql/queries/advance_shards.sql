UPDATE meter.shards AS s
SET seq = posted.seq, updated_at = now()
FROM unnest(%(shards)s::smallint[], %(seqs)s::bigint[]) AS posted (shard, seq)
WHERE s.shard = posted.shard
