COPY meter.settled_holds (
    namespace, hold_id, leg, account, user_id, status, amount, consumed, created_at, expires_at, settled_at,
    late, body, settled_body
) FROM STDIN
