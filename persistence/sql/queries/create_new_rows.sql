-- Where new rows wait on connections that may not COPY into the tables themselves; one set per connection.
CREATE TEMPORARY TABLE IF NOT EXISTS new_ledger (LIKE meter.ledger) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS new_repairs (LIKE meter.repairs) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS new_open_holds (LIKE meter.open_holds) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS new_settled_holds (LIKE meter.settled_holds) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS new_hold_extensions (LIKE meter.hold_extensions) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS new_first_answers (LIKE meter.first_answers INCLUDING DEFAULTS)
ON COMMIT DELETE ROWS;
