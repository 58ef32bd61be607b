-- Where a batch's changes of existing rows wait inside one posting transaction; one set per connection.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_accounts (
    namespace text COLLATE "C", account text COLLATE "C", user_id text, event_type text, unit text,
    resource text, scale smallint, balance bigint, reserved bigint, epoch integer, seq bigint,
    created_at timestamptz, updated_at timestamptz, limits text COLLATE "C"
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_holds (
    namespace text COLLATE "C", hold_id text COLLATE "C", leg smallint, status text COLLATE "C", amount bigint,
    consumed bigint, expires_at timestamptz, settled_at timestamptz, late boolean, settled_body json
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_usage (
    namespace text COLLATE "C", account text COLLATE "C", hour timestamptz, entry_type text COLLATE "C",
    total numeric, event_count bigint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_answers (
    namespace text COLLATE "C", key text COLLATE "C", fingerprint text COLLATE "C", epoch integer, seq bigint,
    answer text COLLATE "C"
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_periods (
    namespace text COLLATE "C", account text COLLATE "C", has_due boolean, due_at timestamptz, has_closing boolean,
    closed_at timestamptz, over_limit bigint, opened date, ended date, has_running boolean, running date,
    has_terms boolean, allocation bigint, carry_over_limit bigint, anchor date, every text, time_zone text
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_period_days (
    namespace text COLLATE "C", account text COLLATE "C", kind text COLLATE "C", day date, epoch integer,
    seq bigint, recorded_at timestamptz, expires_at timestamptz, amount bigint, over_limit bigint, balance bigint,
    reserved bigint
) ON COMMIT DELETE ROWS;
