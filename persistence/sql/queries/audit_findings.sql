-- One row with nulls where an audit found nothing; no row where there was no audit.
SELECT found.account, found.issue_type, found.expected, found.actual, found.hold_id
FROM meter.audits AS audit
LEFT JOIN meter.audit_findings AS found USING (namespace, epoch, seq)
WHERE audit.namespace = %(namespace)s AND audit.epoch = %(epoch)s AND audit.seq = %(seq)s
ORDER BY found.account, found.issue_type, found.hold_id
