INSERT INTO meter.usage_hourly AS usage (namespace, account, hour, entry_type, total, event_count)
SELECT namespace, account, hour, entry_type, total, event_count
FROM json_to_recordset(%(rows)s::json) AS added (
    namespace text, account text, hour timestamptz, entry_type text, total numeric, event_count bigint
)
ON CONFLICT (namespace, account, hour, entry_type) DO UPDATE
SET total = usage.total + excluded.total,
    event_count = usage.event_count + excluded.event_count
