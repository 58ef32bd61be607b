-- Parameters travel in binary, where long names need no escapes.
INSERT INTO meter.long_names (namespace, key, name)
SELECT namespace, key, name
FROM unnest(%(namespaces)b::text[], %(keys)b::text[], %(names)b::text[]) AS told (namespace, key, name)
ON CONFLICT DO NOTHING
