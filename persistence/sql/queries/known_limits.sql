SELECT known.namespace, known.account, coalesce(known.limits, '')
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, account)
JOIN meter.accounts AS known USING (namespace, account)
