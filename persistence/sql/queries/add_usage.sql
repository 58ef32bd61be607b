INSERT INTO meter.usage_hourly AS usage (namespace, account, hour, entry_type, total, event_count)
SELECT namespace, account, hour, entry_type, total, event_count
FROM staged_usage
ON CONFLICT (namespace, account, hour, entry_type) DO UPDATE
SET total = usage.total + excluded.total,
    event_count = usage.event_count + excluded.event_count
