-- Accounts, each followed by the legs of its open holds: one row with nulls where it has none.
SELECT known.namespace, known.account, known.balance, known.reserved, coalesce(known.limits, ''),
       CASE WHEN of_periods.account IS NOT NULL THEN meter.period_words(of_periods) END,
       leg.namespace, leg.hold_id, 'active', leg.account, leg.amount, NULL::bigint, leg.created_at,
       leg.expires_at, NULL::timestamptz, false, leg.body::text
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, account)
JOIN meter.accounts AS known USING (namespace, account)
LEFT JOIN meter.periods AS of_periods
    ON of_periods.namespace = known.namespace AND of_periods.account = known.account
LEFT JOIN meter.open_holds AS own
    ON own.namespace = known.namespace AND own.account = known.account
LEFT JOIN meter.open_holds AS leg
    ON leg.namespace = own.namespace AND leg.hold_id = own.hold_id
ORDER BY known.namespace, known.account, leg.created_at, leg.hold_id, leg.leg
