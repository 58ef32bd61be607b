INSERT INTO meter.gateways (gateway_id, lease_until)
VALUES (%(gateway_id)s, clock_timestamp() + make_interval(secs => %(lease_s)s))
ON CONFLICT (gateway_id) DO UPDATE SET lease_until = excluded.lease_until
