-- No row comes back when the audit was recorded before: its first answer stands.
INSERT INTO meter.audits (namespace, epoch, seq, audited_at, accounts_checked)
VALUES (%(namespace)s, %(epoch)s, %(seq)s, %(audited_at)s, %(accounts_checked)s)
ON CONFLICT DO NOTHING
