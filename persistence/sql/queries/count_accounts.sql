-- Counts among the next accounts, and says where it ended; no row after the last.
WITH page AS MATERIALIZED (
    SELECT namespace, account, updated_at
    FROM meter.balances
    WHERE (namespace, account) > (%(after_namespace)s, %(after_account)s)
      AND namespace <= %(last_namespace)s
    ORDER BY namespace, account
    LIMIT %(limit)s
)
SELECT (SELECT count(*) FROM page WHERE updated_at >= %(since)s::timestamptz), namespace, account
FROM page
ORDER BY namespace DESC, account DESC
LIMIT 1
