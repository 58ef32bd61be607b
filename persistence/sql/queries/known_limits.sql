SELECT wanted.namespace, wanted.account, coalesce(known.limits, '')
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, account)
CROSS JOIN LATERAL (
    SELECT limits
    FROM meter.accounts
    WHERE namespace = wanted.namespace AND account = wanted.account
    OFFSET 0
) AS known
