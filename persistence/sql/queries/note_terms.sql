-- Adds to an audit's findings the accounts whose limits or periods do not agree, and in how many parts.
INSERT INTO meter.audit_findings (namespace, epoch, seq, account, issue_type, expected, actual)
SELECT %(namespace)s, %(epoch)s, %(seq)s, found.account, found.issue_type, 0, found.parts
FROM json_to_recordset(%(found)s::json) AS found (account text, issue_type text, parts numeric)
