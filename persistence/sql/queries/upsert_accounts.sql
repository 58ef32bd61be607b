INSERT INTO meter.accounts (
    namespace, account, user_id, event_type, unit, resource, scale, balance, reserved, last_epoch, last_seq,
    created_at, updated_at
)
SELECT namespace, account, user_id, event_type, unit, resource, scale, balance, reserved, epoch, seq,
       created_at, updated_at
FROM json_to_recordset(%(rows)s::json) AS touched (
    namespace text, account text, user_id text, event_type text, unit text, resource text, scale smallint,
    balance bigint, reserved bigint, epoch integer, seq bigint, created_at timestamptz, updated_at timestamptz
)
ON CONFLICT (namespace, account) DO UPDATE
SET balance = excluded.balance,
    reserved = excluded.reserved,
    last_epoch = excluded.last_epoch,
    last_seq = excluded.last_seq,
    updated_at = excluded.updated_at
