INSERT INTO meter.accounts (
    namespace, account, user_id, event_type, unit, resource, scale, balance, row_reserved, last_epoch, last_seq,
    created_at, updated_at, limits
)
SELECT *
FROM unnest(
    %(namespaces)s::text[], %(accounts)s::text[], %(user_ids)s::text[], %(event_types)s::text[], %(units)s::text[],
    %(resources)s::text[], %(scales)s::smallint[], %(balances)s::bigint[], %(reserved)s::bigint[],
    %(epochs)s::integer[], %(seqs)s::bigint[], %(created)s::timestamptz[], %(updated)s::timestamptz[],
    %(limits)s::text[]
)
ON CONFLICT (namespace, account) DO UPDATE
SET balance = excluded.balance,
    row_reserved = excluded.row_reserved,
    last_epoch = excluded.last_epoch,
    last_seq = excluded.last_seq,
    updated_at = excluded.updated_at,
    limits = coalesce(excluded.limits, accounts.limits)
