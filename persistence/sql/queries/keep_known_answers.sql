-- Of a key that is taken nothing is noted: its call changed nothing here.
INSERT INTO meter.first_answers (namespace, key, fingerprint, epoch, seq, answer)
SELECT *
FROM unnest(
    %(namespaces)s::text[], %(keys)s::text[], %(fingerprints)s::text[],
    %(epochs)s::integer[], %(seqs)s::bigint[], %(answers)s::text[]
)
ON CONFLICT DO NOTHING
