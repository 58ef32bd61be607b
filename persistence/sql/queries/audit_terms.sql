-- What the rows of accounts have of limits and periods, where they have any. One look-up for each account.
SELECT known.account, coalesce(known.limits, ''),
       CASE WHEN of_periods.account IS NOT NULL THEN meter.period_words(of_periods) END
FROM unnest(%(accounts)s::text[]) AS seen (account)
JOIN meter.accounts AS known ON known.namespace = %(namespace)s AND known.account = seen.account
LEFT JOIN meter.periods AS of_periods
    ON of_periods.namespace = %(namespace)s AND of_periods.account = seen.account
WHERE known.limits <> '' OR of_periods.account IS NOT NULL
