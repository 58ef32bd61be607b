SELECT wanted.namespace, wanted.key, first.fingerprint, first.epoch, first.seq, first.answer
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, key)
CROSS JOIN LATERAL (
    SELECT fingerprint, epoch, seq, answer
    FROM meter.first_answers
    WHERE namespace = wanted.namespace AND key = wanted.key
    OFFSET 0
) AS first
