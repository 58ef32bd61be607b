COPY meter.ledger (
    namespace, entry_id, created_at, event_time, entry_type, account, user_id, event_type, unit, resource,
    amount, balance_after, reservation_id, reference_id, actor_id, request_id, on_behalf_of, reason, metadata
) FROM STDIN
