-- By unit, each with one of its accounts.
SELECT min(account), count(*), sum(balance), sum(reserved)
FROM meter.balances
WHERE namespace = %(namespace)s
GROUP BY unit
