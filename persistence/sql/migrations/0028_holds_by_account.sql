-- Each open hold had an entry of its own in this index, a quarter of what Postgres did for a reserve on a thousand
-- accounts. Without the entry that made them, the holds of an account share one. Whoever asks what an account has
-- reads all of its open holds then; most of those who ask list or count them anyway.
DROP INDEX meter.open_holds_by_account;
CREATE INDEX open_holds_by_account ON meter.open_holds (namespace COLLATE "POSIX", account);

-- As before, but for how it asks for the holds of an account: of a range the planner never believes that it is all.
CREATE OR REPLACE FUNCTION meter.state_of(known meter.accounts)
RETURNS TABLE (balance bigint, reserved bigint, last_epoch integer, last_seq bigint, updated_at timestamptz) ROWS 1
LANGUAGE sql STABLE AS $$
    SELECT coalesce(since.seen_balance, known.balance), coalesce(since.seen_reserved, known.row_reserved),
           coalesce((since.entry_id OPERATOR(pg_catalog.>>) 40)::integer, known.last_epoch),
           coalesce((since.entry_id OPERATOR(pg_catalog.>>) 4) OPERATOR(pg_catalog.&) 68719476735, known.last_seq),
           coalesce(since.created_at, known.updated_at)
    FROM (SELECT) AS always
    LEFT JOIN LATERAL (
        SELECT held.entry_id, held.seen_balance, held.seen_reserved, held.created_at
        FROM meter.open_holds AS held
        WHERE held.namespace COLLATE "POSIX" OPERATOR(pg_catalog.=) known.namespace
          AND held.account OPERATOR(pg_catalog.>=) known.account
          AND held.account OPERATOR(pg_catalog.<=) known.account
          AND held.entry_id OPERATOR(pg_catalog.>) (
              (known.last_epoch::bigint OPERATOR(pg_catalog.<<) 40)
              OPERATOR(pg_catalog.|) (known.last_seq OPERATOR(pg_catalog.<<) 4) OPERATOR(pg_catalog.|) 15
          )
        ORDER BY held.entry_id DESC
        LIMIT 1
    ) AS since ON true
$$;
