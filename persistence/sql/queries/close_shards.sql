-- Each closing has a number of its own, also when one that was broken off is begun again.
UPDATE meter.shards
SET state = 'closing', closed_at = coalesce(closed_at, now()), fence = fence + 1, updated_at = now()
WHERE shard = ANY (%(shards)s)
RETURNING shard, fence
