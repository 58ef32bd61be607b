-- Accounts, each followed by the legs of its open holds: one row with nulls where it has none.
SELECT known.namespace, known.account, known.balance, known.reserved, coalesce(known.limits, ''),
       CASE WHEN of_periods.account IS NOT NULL THEN ARRAY[
           (extract(epoch FROM of_periods.due_at) * 1000)::bigint::text,
           (extract(epoch FROM of_periods.closed_at) * 1000)::bigint::text,
           of_periods.over_limit::text, of_periods.opened::text, of_periods.ended::text, of_periods.running::text,
           of_periods.allocation::text, of_periods.carry_over_limit::text, of_periods.anchor::text,
           of_periods.every, of_periods.time_zone
       ] END,
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
