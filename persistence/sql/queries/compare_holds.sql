-- Which of these holds exist already, and whether they were made the same.
SELECT told.namespace, told.hold_id,
       (held.account, held.created_at, held.body::text)
       IS NOT DISTINCT FROM (told.account, told.created_at, told.body) AS same
FROM json_to_recordset(%(rows)s::json) AS told (
    namespace text, hold_id text, leg smallint, account text, created_at timestamptz, body text
)
JOIN meter.holds AS held USING (namespace, hold_id, leg)
