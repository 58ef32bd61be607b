SELECT known.namespace, known.account, known.balance, known.reserved
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, account)
JOIN meter.accounts AS known USING (namespace, account)
