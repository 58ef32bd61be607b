COPY meter.open_holds (
    namespace, hold_id, leg, account, user_id, amount, created_at, expires_at, body
) FROM STDIN
