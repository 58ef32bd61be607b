SELECT id, trigger, trust, started_at, finished_at, accounts_checked, findings, repaired, details::text
FROM meter.reconciliations
WHERE namespace = %(namespace)s AND id < %(before)s
ORDER BY id DESC
LIMIT %(limit)s
