-- What audits told has been read long ago: reports keep what was found.
WITH old AS (
    SELECT namespace, epoch, seq FROM meter.audits
    WHERE namespace = %(namespace)s AND audited_at < now() - interval '1 hour'
    LIMIT 10000
), findings AS (
    DELETE FROM meter.audit_findings AS found
    USING old
    WHERE (found.namespace, found.epoch, found.seq) = (old.namespace, old.epoch, old.seq)
)
DELETE FROM meter.audits AS audit
USING old
WHERE (audit.namespace, audit.epoch, audit.seq) = (old.namespace, old.epoch, old.seq)
