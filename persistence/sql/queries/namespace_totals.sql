-- By unit, each with one of its accounts: what the rows say, and what holds that were made since changed of that. So
-- nothing is looked up for accounts without open holds.
SELECT min(account), sum(accounts), sum(balance), sum(reserved)
FROM (
    SELECT unit, account, 1 AS accounts, balance, row_reserved AS reserved
    FROM meter.accounts
    WHERE namespace = %(namespace)s
    UNION ALL
    SELECT changed.unit, held.account, 0, changed.balance, changed.reserved
    FROM (SELECT DISTINCT account FROM meter.open_holds WHERE namespace = %(namespace)s) AS held
    CROSS JOIN LATERAL (
        SELECT known.unit, state.balance - known.balance AS balance, state.reserved - known.row_reserved AS reserved
        FROM meter.accounts AS known
        CROSS JOIN LATERAL meter.state_of(known) AS state
        WHERE known.namespace = %(namespace)s AND known.account = held.account
        OFFSET 0
    ) AS changed
) AS told
GROUP BY unit
