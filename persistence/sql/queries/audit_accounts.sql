-- Compares accounts as Redis saw them at one position with the ledger, which must be posted up to just there.
-- held is the sum of the account's open holds according to Redis. Gives one row per finding.
WITH seen AS (
    SELECT *
    FROM json_to_recordset(%(seen)s::json) AS seen (
        account text, balance bigint, reserved bigint, held bigint
    )
), compared AS (
    SELECT seen.*,
           coalesce(known.balance, 0) AS known_balance,
           coalesce(known.reserved, 0) AS known_reserved,
           coalesce(open.total, 0) AS open_total,
           coalesce(booked.total * 10::numeric ^ known.scale, 0) AS booked_total
    FROM seen
    LEFT JOIN meter.accounts AS known
        ON known.namespace = %(namespace)s AND known.account = seen.account
    CROSS JOIN LATERAL (
        SELECT sum(held.amount) AS total
        FROM meter.open_holds AS held
        WHERE held.namespace = %(namespace)s AND held.account = seen.account
    ) AS open
    CROSS JOIN LATERAL (
        SELECT sum(line.amount) AS total
        FROM meter.ledger AS line
        WHERE line.namespace = %(namespace)s AND line.account = seen.account
    ) AS booked
)
INSERT INTO meter.audit_findings (namespace, epoch, seq, account, issue_type, expected, actual)
SELECT %(namespace)s, %(epoch)s, %(seq)s, account, finding.issue_type, finding.expected, finding.actual
FROM compared
CROSS JOIN LATERAL (VALUES
    ('balance_mismatch', known_balance, balance),
    ('ledger_mismatch', booked_total, known_balance),
    ('hold_mismatch', held, reserved),
    ('reserved_mismatch',
     CASE WHEN known_reserved <> reserved THEN known_reserved ELSE open_total END,
     reserved)
) AS finding (issue_type, expected, actual)
WHERE finding.expected <> finding.actual
