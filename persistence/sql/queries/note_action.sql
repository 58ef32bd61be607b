INSERT INTO meter.audit_events (namespace, actor_id, action, target, reason, details)
VALUES (%(namespace)s, %(actor_id)s, %(action)s, %(target)s, %(reason)s, %(details)s::jsonb)
RETURNING id
