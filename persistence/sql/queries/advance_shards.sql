UPDATE meter.shards AS s
SET seq = posted.seq, updated_at = now(), stopped_at = NULL, stop_reason = NULL
FROM unnest(%(shards)s::smallint[], %(seqs)s::bigint[]) AS posted (shard, seq)
WHERE s.shard = posted.shard
