-- Whoever posts the shard right now knows better: a locked row is left alone.
WITH free AS (SELECT shard FROM meter.shards WHERE shard = %(shard)s FOR UPDATE SKIP LOCKED)
UPDATE meter.shards AS s
SET stopped_at = coalesce(s.stopped_at, now()), stop_reason = %(reason)s
FROM free
WHERE s.shard = free.shard
