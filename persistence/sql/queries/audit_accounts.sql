-- Compares accounts as Redis saw them at one position with their rows, which must be posted up to just there.
-- One look-up for each account, whatever its history: whether the rows themselves are right is check_accounts'.
WITH seen AS (
    SELECT * FROM json_to_recordset(%(seen)s::json) AS seen (account text, balance numeric, reserved numeric)
)
INSERT INTO meter.audit_findings (namespace, epoch, seq, account, issue_type, expected, actual)
SELECT %(namespace)s, %(epoch)s, %(seq)s, seen.account, finding.issue_type, finding.expected, finding.actual
FROM seen
LEFT JOIN LATERAL (
    SELECT balance, reserved
    FROM meter.balances
    WHERE namespace = %(namespace)s AND account = seen.account
    OFFSET 0
) AS known ON true
CROSS JOIN LATERAL (VALUES
    ('balance_mismatch', coalesce(known.balance, 0), seen.balance),
    ('reserved_mismatch', coalesce(known.reserved, 0), seen.reserved)
) AS finding (issue_type, expected, actual)
WHERE finding.expected <> finding.actual
