SELECT long.namespace, long.key, long.name
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, key)
JOIN meter.long_names AS long USING (namespace, key)
