-- As stage_answers.
CREATE TEMPORARY TABLE staged_periods (
    namespace text COLLATE "C", account text COLLATE "C", has_due boolean, due_at timestamptz, has_closing boolean,
    closed_at timestamptz, over_limit bigint, opened date, ended date, has_running boolean, running date,
    has_terms boolean, allocation bigint, carry_over_limit bigint, anchor date, every text, time_zone text
) ON COMMIT DROP
