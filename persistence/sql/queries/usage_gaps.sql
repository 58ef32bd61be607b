-- See 0020_usage.sql.
SELECT meter.usage_gap(%(namespace)s, %(first)s, %(beyond)s, %(hours)s::timestamptz[])
