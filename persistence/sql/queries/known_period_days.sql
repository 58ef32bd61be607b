SELECT known.namespace, known.account, known.kind, known.day
FROM unnest(%(namespaces)s::text[], %(accounts)s::text[], %(kinds)s::text[], %(days)s::date[])
    AS wanted (namespace, account, kind, day)
JOIN meter.period_days AS known USING (namespace, account, kind, day)
