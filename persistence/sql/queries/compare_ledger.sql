-- Which of these lines the ledger holds already, and whether it tells them the same.
SELECT told.namespace, told.entry_id,
       (booked.created_at, booked.event_time, booked.entry_type, booked.account, booked.amount,
        booked.balance_after, booked.reservation_id, booked.reference_id, booked.actor_id, booked.request_id,
        booked.on_behalf_of, booked.reason, booked.metadata::text)
       IS NOT DISTINCT FROM
       (told.created_at, told.event_time, told.entry_type, told.account, told.amount,
        told.balance_after, told.reservation_id, told.reference_id, told.actor_id, told.request_id,
        told.on_behalf_of, told.reason, told.metadata) AS same
FROM json_to_recordset(%(rows)s::json) AS told (
    namespace text, entry_id bigint, created_at timestamptz, event_time timestamptz, entry_type text,
    account text, amount numeric, balance_after numeric, reservation_id text, reference_id bigint,
    actor_id text, request_id text, on_behalf_of text, reason text, metadata text
)
JOIN meter.ledger AS booked USING (namespace, entry_id)
