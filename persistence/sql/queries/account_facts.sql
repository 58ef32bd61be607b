SELECT known.balance, known.reserved, held.holds, known.created_at, known.updated_at
FROM meter.accounts AS known
CROSS JOIN LATERAL (
    SELECT count(*) AS holds
    FROM meter.open_holds
    WHERE namespace = %(namespace)s AND account = %(account)s
) AS held
WHERE known.namespace = %(namespace)s AND known.account = %(account)s
