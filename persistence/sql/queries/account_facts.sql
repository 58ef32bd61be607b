SELECT known.balance, known.reserved, held.holds, known.created_at, known.updated_at,
       CASE WHEN terms.account IS NOT NULL THEN meter.period_words(terms) END, opened.day, opened.amount
FROM meter.balances AS known
CROSS JOIN LATERAL (
    SELECT count(*) AS holds
    FROM meter.open_holds
    WHERE namespace COLLATE "POSIX" = %(namespace)s AND account = %(account)s
) AS held
LEFT JOIN meter.periods AS terms
    ON terms.namespace = %(namespace)s AND terms.account = %(account)s
LEFT JOIN meter.period_days AS opened
    ON opened.namespace = %(namespace)s AND opened.account = %(account)s AND opened.kind = 'open'
    AND opened.day = meter.current_period(terms)
WHERE known.namespace = %(namespace)s AND known.account = %(account)s
