-- Which of the told lines the ledger holds already, and whether it tells them the same.
SELECT told.namespace, told.entry_id,
       (booked.created_at, booked.event_time, booked.entry_type, booked.account, booked.amount,
        booked.balance_after, booked.reservation_id, booked.reference_id, booked.actor_id, booked.request_id,
        booked.on_behalf_of, booked.reason, booked.metadata::text)
       IS NOT DISTINCT FROM
       (told.created_at, told.event_time, told.entry_type, told.account, told.amount,
        told.balance_after, told.reservation_id, told.reference_id, told.actor_id, told.request_id,
        told.on_behalf_of, told.reason, told.metadata::text) AS same
FROM told_ledger AS told
CROSS JOIN LATERAL (
    SELECT *
    FROM meter.ledger
    WHERE namespace = told.namespace AND entry_id = told.entry_id
    OFFSET 0
) AS booked
