UPDATE meter.shards AS s
SET tidied = done.epoch
FROM unnest(%(shards)s::smallint[], %(epochs)s::integer[]) AS done (shard, epoch)
WHERE s.shard = done.shard AND s.tidied < done.epoch
