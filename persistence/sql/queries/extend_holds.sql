UPDATE meter.open_holds AS held
SET amount = staged.amount, expires_at = staged.expires_at
FROM staged_holds AS staged
WHERE held.namespace = staged.namespace
  AND held.hold_id = staged.hold_id
  AND held.leg = staged.leg
  AND staged.status = 'active'
