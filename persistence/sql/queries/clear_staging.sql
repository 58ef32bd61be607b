-- Between two postings of one transaction.
TRUNCATE staged_holds;
DROP TABLE IF EXISTS pg_temp.staged_answers, pg_temp.staged_periods, pg_temp.staged_period_days
