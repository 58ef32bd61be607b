SELECT coalesce(sum(last_seq - first_seq + 1 - recovered), 0)::bigint FROM meter.losses
