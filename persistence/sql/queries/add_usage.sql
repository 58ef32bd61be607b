INSERT INTO meter.usage_hourly AS usage (namespace, account, hour, entry_type, total, event_count)
SELECT *
FROM unnest(
    %(namespaces)s::text[], %(accounts)s::text[], %(hours)s::timestamptz[], %(entry_types)s::text[],
    %(totals)s::numeric[], %(counts)s::bigint[]
)
ON CONFLICT (namespace, account, hour, entry_type) DO UPDATE
SET total = usage.total + excluded.total,
    event_count = usage.event_count + excluded.event_count
