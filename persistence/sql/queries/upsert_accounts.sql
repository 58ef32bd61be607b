INSERT INTO meter.accounts (
    namespace, account, user_id, event_type, unit, resource, scale, balance, reserved, last_epoch, last_seq,
    created_at, updated_at, limits
)
SELECT namespace, account, user_id, event_type, unit, resource, scale, balance, reserved, epoch, seq,
       created_at, updated_at, limits
FROM staged_accounts
ON CONFLICT (namespace, account) DO UPDATE
SET balance = excluded.balance,
    reserved = excluded.reserved,
    last_epoch = excluded.last_epoch,
    last_seq = excluded.last_seq,
    updated_at = excluded.updated_at,
    limits = coalesce(excluded.limits, accounts.limits)
