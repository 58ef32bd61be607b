COPY meter.open_holds (
    namespace, hold_id, leg, account, user_id, amount, created_at, expires_at, body, seen_balance, seen_reserved,
    seen_limits, entry_id
) FROM STDIN
