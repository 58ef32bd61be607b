-- Adds what one page of a reconcile found. Of the findings the first hundred are kept.
UPDATE meter.reconciliations AS report
SET accounts_checked = report.accounts_checked + %(checked)s,
    findings = report.findings + %(findings)s,
    repaired = report.repaired + %(repaired)s,
    finished_at = CASE WHEN %(finished)s THEN now() END,
    details = CASE WHEN jsonb_array_length(report.details) < 100
                   THEN report.details || %(details)s::jsonb ELSE report.details END
WHERE report.namespace = %(namespace)s AND report.id = %(id)s AND report.finished_at IS NULL
