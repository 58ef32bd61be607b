-- Holds that stand open because their making was posted again: forgets how they were settled, where it was
-- as is told now.
DELETE FROM meter.settled_holds AS held
USING unnest(
    %(namespaces)s::text[], %(hold_ids)s::text[], %(statuses)s::text[], %(settled)s::timestamptz[]
) AS told (namespace, hold_id, status, settled_at)
WHERE held.namespace = told.namespace
  AND held.hold_id = told.hold_id
  AND held.status = told.status
  AND held.settled_at = told.settled_at
  AND EXISTS (
      SELECT FROM meter.open_holds AS open
      WHERE open.namespace = held.namespace AND open.hold_id = held.hold_id AND open.leg = held.leg
  )
