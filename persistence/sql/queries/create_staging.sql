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
