UPDATE meter.accounts AS known
SET balance = told.balance,
    reserved = told.reserved,
    last_epoch = told.last_epoch,
    last_seq = told.last_seq,
    updated_at = told.updated_at,
    limits = coalesce(told.limits, known.limits)
FROM unnest(
    %(namespaces)s::text[], %(accounts)s::text[], %(balances)s::bigint[], %(reserved)s::bigint[],
    %(epochs)s::integer[], %(seqs)s::bigint[], %(updated)s::timestamptz[], %(limits)s::text[]
) AS told (namespace, account, balance, reserved, last_epoch, last_seq, updated_at, limits)
WHERE known.namespace = told.namespace AND known.account = told.account
