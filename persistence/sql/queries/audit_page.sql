SELECT id, at, namespace, actor_id, action, target, reason, details::text
FROM meter.audit_events
WHERE id < %(before)s AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
ORDER BY id DESC
LIMIT %(limit)s
