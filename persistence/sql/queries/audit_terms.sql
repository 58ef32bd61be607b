-- What the rows of accounts have of limits and periods, where they have any. One look-up for each account.
SELECT seen.account, coalesce(known.limits, ''), of_periods.words
FROM unnest(%(accounts)s::text[]) AS seen (account)
CROSS JOIN LATERAL (
    SELECT limits
    FROM meter.accounts
    WHERE namespace = %(namespace)s AND account = seen.account
    OFFSET 0
) AS known
LEFT JOIN LATERAL (
    SELECT meter.period_words(own) AS words
    FROM meter.periods AS own
    WHERE namespace = %(namespace)s AND account = seen.account
    OFFSET 0
) AS of_periods ON true
WHERE known.limits <> '' OR of_periods.words IS NOT NULL
