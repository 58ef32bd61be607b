-- late says that entries of an epoch that was left wait to be booked.
SELECT shard, epoch, seq, state, fence, run_id,
       (extract(epoch FROM closed_at) * 1000)::bigint AS closed_ms, reason,
       EXISTS (
           SELECT FROM meter.salvaged AS late
           WHERE late.shard = shards.shard AND late.epoch < shards.epoch AND late.booked_at IS NULL
       ) AS late
FROM meter.shards
ORDER BY shard
