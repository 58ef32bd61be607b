-- What is in the way of posting: the stopped shards, and beside each the number of entries in quarantine.
SELECT stopped.shard, stopped.stopped_at, stopped.stop_reason, unresolved.entries
FROM (SELECT count(*) AS entries FROM meter.quarantine WHERE resolved_at IS NULL) AS unresolved
LEFT JOIN (SELECT shard, stopped_at, stop_reason FROM meter.shards WHERE stop_reason IS NOT NULL) AS stopped
    ON true
ORDER BY stopped.shard
