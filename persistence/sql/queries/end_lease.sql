-- Others are forgotten once every epoch in which they may have acknowledged was left: see unheard_shards.
WITH gone AS (
    DELETE FROM meter.gateways
    WHERE gateway_id = %(gateway_id)s
       OR lease_until < least(
           clock_timestamp() - interval '1 hour', (SELECT min(opened_at) FROM meter.shards)
       )
    RETURNING gateway_id
)
DELETE FROM meter.answers AS answer USING gone WHERE answer.gateway_id = gone.gateway_id
