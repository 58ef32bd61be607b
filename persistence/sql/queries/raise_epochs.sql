-- Only shards that still stand where the caller saw them: whoever drained another state must look again.
UPDATE meter.shards AS s
SET epoch = s.epoch + 1, seq = -1, opened_at = now(), updated_at = now()
FROM unnest(%(shards)s::smallint[], %(epochs)s::integer[], %(seqs)s::bigint[]) AS seen (shard, epoch, seq)
WHERE s.shard = seen.shard AND s.epoch = seen.epoch AND s.seq = seen.seq
RETURNING s.shard, s.epoch
