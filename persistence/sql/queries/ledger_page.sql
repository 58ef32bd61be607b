SELECT line.entry_id, line.entry_type,
       (line.amount * 10::numeric ^ known.scale)::bigint,
       (line.balance_after * 10::numeric ^ known.scale)::bigint,
       line.event_time, line.created_at, line.reservation_id, line.reference_id, line.actor_id,
       line.request_id, line.on_behalf_of, line.reason, line.metadata::text
FROM meter.accounts AS known
JOIN meter.ledger AS line USING (namespace, account)
WHERE known.namespace = %(namespace)s
  AND known.account = %(account)s
  AND line.entry_id < %(before_id)s
ORDER BY line.entry_id DESC
LIMIT %(limit)s
