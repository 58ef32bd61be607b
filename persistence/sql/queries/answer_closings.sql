INSERT INTO meter.answers (shard, gateway_id, fence, epoch, seq)
SELECT shard, %(gateway_id)s, fence, epoch, seq
FROM unnest(
    %(shards)s::smallint[], %(fences)s::bigint[], %(epochs)s::integer[], %(seqs)s::bigint[]
) AS told (shard, fence, epoch, seq)
ON CONFLICT (shard, gateway_id) DO UPDATE
SET fence = excluded.fence, epoch = excluded.epoch, seq = excluded.seq
