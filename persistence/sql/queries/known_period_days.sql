SELECT wanted.namespace, wanted.account, wanted.kind, wanted.day
FROM unnest(%(namespaces)s::text[], %(accounts)s::text[], %(kinds)s::text[], %(days)s::date[])
    AS wanted (namespace, account, kind, day)
CROSS JOIN LATERAL (
    SELECT
    FROM meter.period_days
    WHERE namespace = wanted.namespace AND account = wanted.account AND kind = wanted.kind AND day = wanted.day
    OFFSET 0
) AS known
