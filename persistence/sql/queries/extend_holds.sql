UPDATE meter.open_holds AS held
SET amount = extended.amount, expires_at = extended.expires_at
FROM json_to_recordset(%(rows)s::json) AS extended (
    namespace text, hold_id text, leg smallint, amount bigint, expires_at timestamptz
)
WHERE held.namespace = extended.namespace
  AND held.hold_id = extended.hold_id
  AND held.leg = extended.leg
