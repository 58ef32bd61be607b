SELECT wanted.namespace, wanted.account, known.balance, known.reserved
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, account)
CROSS JOIN LATERAL (
    SELECT balance, reserved
    FROM meter.balances
    WHERE namespace = wanted.namespace AND account = wanted.account
    OFFSET 0
) AS known
