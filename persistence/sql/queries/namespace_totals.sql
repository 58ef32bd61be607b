-- By unit, each with one of its accounts.
SELECT min(account), count(*), sum(balance), sum(reserved)
FROM meter.accounts
WHERE namespace = %(namespace)s
GROUP BY unit
