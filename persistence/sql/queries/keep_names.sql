INSERT INTO meter.long_names (namespace, key, name)
SELECT namespace, key, name
FROM unnest(%(namespaces)s::text[], %(keys)s::text[], %(names)s::text[]) AS told (namespace, key, name)
ON CONFLICT DO NOTHING
