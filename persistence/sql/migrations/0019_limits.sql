-- Limits of accounts, and what a reserve saw when it was granted.
-- limits: as the scripts write them (gateway/domain/limits.py), definitions and what is used of each, as the last
-- posted entry that changed one left them; '' when the last was dropped, null where there never was one.
ALTER TABLE meter.accounts ADD COLUMN limits text COLLATE "C";

-- The numbers of each leg just after the hold was made, and the limits of its account as they were then; null for
-- holds that were made before this migration, and for those of which the ledger knows no making.
ALTER TABLE meter.open_holds
    ADD COLUMN seen_balance bigint, ADD COLUMN seen_reserved bigint, ADD COLUMN seen_limits text COLLATE "C";
ALTER TABLE meter.settled_holds
    ADD COLUMN seen_balance bigint, ADD COLUMN seen_reserved bigint, ADD COLUMN seen_limits text COLLATE "C";

CREATE OR REPLACE VIEW meter.holds AS
    SELECT namespace, hold_id, leg, account, user_id, 'active'::text COLLATE "C" AS status, amount,
           NULL::bigint AS consumed, created_at, expires_at, NULL::timestamptz AS settled_at,
           false AS late, body, NULL::json AS settled_body, seen_balance, seen_reserved, seen_limits
    FROM meter.open_holds
    UNION ALL
    SELECT namespace, hold_id, leg, account, user_id, status, amount,
           consumed, created_at, expires_at, settled_at,
           late, body, settled_body, seen_balance, seen_reserved, seen_limits
    FROM meter.settled_holds;

-- Replacing a view forgets that it shows each role its own rows only (0017_tenancy.sql).
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        ALTER VIEW meter.holds SET (security_invoker = true);
    END IF;
END
$$;

-- Whoever has another leg of a settled hold than the first finds it through this. It costs a hold of one leg nothing.
CREATE INDEX settled_holds_other_legs_by_user
    ON meter.settled_holds (namespace, user_id, status, created_at) WHERE leg > 0;
