WITH gone AS (
    DELETE FROM meter.gateways
    WHERE gateway_id = %(gateway_id)s OR lease_until < clock_timestamp() - interval '1 hour'
    RETURNING gateway_id
)
DELETE FROM meter.answers AS answer USING gone WHERE answer.gateway_id = gone.gateway_id
