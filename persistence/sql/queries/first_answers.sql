SELECT first.namespace, first.key, first.fingerprint, first.epoch, first.seq, first.answer
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, key)
JOIN meter.first_answers AS first USING (namespace, key)
