-- As stage_answers.
CREATE TEMPORARY TABLE staged_period_days (
    namespace text COLLATE "C", account text COLLATE "C", kind text COLLATE "C", day date, epoch integer,
    seq bigint, recorded_at timestamptz, expires_at timestamptz, amount bigint, over_limit bigint, balance bigint,
    reserved bigint
) ON COMMIT DROP
