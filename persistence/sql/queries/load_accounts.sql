-- Accounts, each followed by the legs of its open holds: one row with nulls where it has none.
SELECT known.namespace, known.account, known.balance, known.reserved, coalesce(known.limits, ''),
       of_periods.words,
       leg.namespace, leg.hold_id, 'active', leg.account, leg.amount, NULL::bigint, leg.created_at,
       leg.expires_at, NULL::timestamptz, false, leg.body::text
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, account)
CROSS JOIN LATERAL (
    SELECT *
    FROM meter.balances
    WHERE namespace = wanted.namespace AND account = wanted.account
    OFFSET 0
) AS known
LEFT JOIN LATERAL (
    SELECT meter.period_words(own) AS words
    FROM meter.periods AS own
    WHERE namespace = wanted.namespace AND account = wanted.account
    OFFSET 0
) AS of_periods ON true
LEFT JOIN LATERAL (
    SELECT namespace, hold_id
    FROM meter.open_holds
    WHERE namespace COLLATE "POSIX" = wanted.namespace
      AND account BETWEEN wanted.account AND wanted.account -- of a range it never believes that it is all rows
    OFFSET 0
) AS own ON true
LEFT JOIN LATERAL (
    SELECT *
    FROM meter.open_holds
    WHERE namespace = own.namespace AND hold_id = own.hold_id
    OFFSET 0
) AS leg ON true
ORDER BY known.namespace, known.account, leg.created_at, leg.hold_id, leg.leg
