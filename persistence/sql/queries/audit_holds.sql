-- Compares holds as Redis saw them at one position with the open holds of the ledger, posted up to just there.
-- amount is null where Redis has no open hold of that id.
WITH told AS (
    SELECT *
    FROM json_to_recordset(%(told)s::json) AS told (account text, hold_id text, listed boolean, amount numeric)
)
INSERT INTO meter.audit_findings (namespace, epoch, seq, account, issue_type, expected, actual, hold_id)
SELECT %(namespace)s, %(epoch)s, %(seq)s, told.account,
       CASE WHEN held.amount IS NOT NULL AND told.listed AND told.amount IS NOT NULL
            THEN 'hold_mismatch' ELSE 'orphan_hold' END,
       coalesce(held.amount, 0),
       CASE WHEN told.listed OR held.amount IS NULL THEN coalesce(told.amount, 0) ELSE 0 END,
       told.hold_id
FROM told
LEFT JOIN LATERAL (
    SELECT account, amount
    FROM meter.open_holds
    WHERE namespace = %(namespace)s AND hold_id = told.hold_id
    OFFSET 0
) AS held ON held.account = told.account
WHERE (told.listed, told.amount) IS DISTINCT FROM (held.amount IS NOT NULL, held.amount)
