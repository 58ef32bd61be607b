COPY meter.settled_holds (
    namespace, hold_id, leg, status, amount, consumed, expires_at, settled_at, late, settled_body,
    account, user_id, created_at, body, seen_balance, seen_reserved, seen_limits
) FROM STDIN
