-- Which of these holds the ledger knows, with the status it gives them.
SELECT held.namespace, held.hold_id, held.status
FROM unnest(%(namespaces)s::text[], %(hold_ids)s::text[]) AS wanted (namespace, hold_id)
JOIN meter.holds AS held USING (namespace, hold_id)
WHERE held.leg = 0
