-- Notes how far each epoch was booked, and gives its shard the next: an epoch is given once and never again. Whether
-- somebody was not heard is asked as in unheard_shards.
WITH ours AS (
    SELECT *
    FROM unnest(
        %(shards)s::smallint[], %(epochs)s::integer[], %(seqs)s::bigint[], %(next_epochs)s::integer[]
    ) AS plan (shard, epoch, last_seq, next_epoch)
), left_now AS (
    INSERT INTO meter.epochs (shard, epoch, last_seq, unheard)
    SELECT ours.shard, ours.epoch, ours.last_seq, EXISTS (
        SELECT
        FROM meter.gateways AS gateway
        LEFT JOIN meter.answers AS answer
            ON answer.gateway_id = gateway.gateway_id AND answer.shard = ours.shard
        WHERE gateway.lease_until > s.opened_at AND coalesce(answer.fence, -1) < s.fence
    )
    FROM ours
    JOIN meter.shards AS s USING (shard)
)
UPDATE meter.shards AS s
SET epoch = ours.next_epoch, seq = -1, opened_at = now(), updated_at = now()
FROM ours
WHERE s.shard = ours.shard
