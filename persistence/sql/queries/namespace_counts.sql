SELECT (
    SELECT coalesce(sum(event_count), 0)
    FROM meter.usage_hourly
    WHERE namespace = %(namespace)s
), (
    SELECT count(*)
    FROM meter.open_holds
    WHERE namespace = %(namespace)s AND leg = 0
)
