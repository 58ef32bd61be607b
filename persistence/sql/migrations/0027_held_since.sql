-- A reserve changes nothing of an account but what is reserved, and its hold says what that was then. So the row of
-- an account is written by every other entry, and what stands there is only as new as the row: whoever asks what an
-- account has now asks for the newest open hold made since, too. One look-up tells; a hold that is settled or
-- extended writes the row, so whatever was made before that never counts.
ALTER TABLE meter.accounts RENAME COLUMN reserved TO row_reserved;

-- The entry that made the leg of the hold, numbered as the lines of the ledger are. Of holds that were made before,
-- which have 0, their accounts' rows know.
ALTER TABLE meter.open_holds ADD COLUMN entry_id bigint NOT NULL DEFAULT 0;
DROP INDEX meter.open_holds_by_account;
CREATE INDEX open_holds_by_account ON meter.open_holds (namespace COLLATE "POSIX", account, entry_id);

-- What the last posted entry that touched an account made of it. It has no search_path of its own, so that it becomes
-- a part of the statement that asks.
CREATE FUNCTION meter.state_of(known meter.accounts)
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
          AND held.account OPERATOR(pg_catalog.=) known.account
          AND held.entry_id OPERATOR(pg_catalog.>) (
              (known.last_epoch::bigint OPERATOR(pg_catalog.<<) 40)
              OPERATOR(pg_catalog.|) (known.last_seq OPERATOR(pg_catalog.<<) 4) OPERATOR(pg_catalog.|) 15
          )
        ORDER BY held.entry_id DESC
        LIMIT 1
    ) AS since ON true
$$;

-- The accounts as the last posted entry left them.
CREATE VIEW meter.balances AS
    SELECT known.namespace, known.account, known.user_id, known.event_type, known.unit, known.resource, known.scale,
           state.balance, state.reserved, state.last_epoch, state.last_seq, known.created_at, state.updated_at,
           known.limits
    FROM meter.accounts AS known
    CROSS JOIN LATERAL meter.state_of(known) AS state;

-- As before, but for where they learn what is reserved and when the account last changed.
CREATE OR REPLACE FUNCTION meter.get_balance(
    p_user_id text, p_event_type text, p_unit text, p_resource text DEFAULT NULL, p_namespace text DEFAULT NULL
) RETURNS TABLE (balance numeric, reserved numeric, available numeric, as_of timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit), meter.check_account(p_user_id, p_resource);
    RETURN QUERY
    SELECT meter.in_units(coalesce(state.balance, 0), meter.scale_of(p_unit)),
           meter.in_units(coalesce(state.reserved, 0), meter.scale_of(p_unit)),
           meter.in_units(coalesce(state.balance - state.reserved, 0), meter.scale_of(p_unit)),
           (SELECT meter.as_of(tenant))
    FROM (VALUES (meter.account_key(p_user_id, p_event_type, p_unit, p_resource))) AS wanted (account)
    LEFT JOIN meter.accounts AS known
        ON known.namespace = meter.namespace_key(tenant) AND known.account = wanted.account
    LEFT JOIN LATERAL meter.state_of(known) AS state ON true;
END
$$;

CREATE OR REPLACE FUNCTION meter.get_account(
    p_user_id text, p_event_type text, p_unit text, p_resource text DEFAULT NULL, p_namespace text DEFAULT NULL
) RETURNS TABLE (
    namespace text, user_id text, event_type text, resource text, unit text, balance numeric, reserved numeric,
    available numeric, active_reservations bigint, period_start date, period_allocation numeric,
    carry_over_limit numeric, every text, time_zone text, current_period_start date,
    current_period_allocation numeric, current_period_ends_at timestamptz, created_at timestamptz,
    updated_at timestamptz, as_of timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit), meter.check_account(p_user_id, p_resource);
    RETURN QUERY
    SELECT tenant, p_user_id, p_event_type, nullif(p_resource, ''), p_unit,
           meter.in_units(state.balance, known.scale), meter.in_units(state.reserved, known.scale),
           meter.in_units(state.balance - state.reserved, known.scale),
           (SELECT count(*)
            FROM meter.open_holds AS h
            WHERE h.namespace COLLATE "POSIX" = known.namespace AND h.account BETWEEN known.account AND known.account),
           terms.anchor, meter.in_units(terms.allocation, known.scale),
           meter.in_units(terms.carry_over_limit, known.scale), terms.every::text, terms.time_zone::text, opened.day,
           meter.in_units(opened.amount, known.scale), CASE WHEN opened.day = terms.running THEN terms.due_at END,
           known.created_at, state.updated_at, (SELECT meter.as_of(tenant))
    FROM meter.accounts AS known
    CROSS JOIN LATERAL meter.state_of(known) AS state
    LEFT JOIN meter.periods AS terms USING (namespace, account)
    LEFT JOIN meter.period_days AS opened
        ON opened.namespace = known.namespace AND opened.account = known.account AND opened.kind = 'open'
        AND opened.day = meter.current_period(terms)
    WHERE known.namespace = meter.namespace_key(tenant)
      AND known.account = meter.account_key(p_user_id, p_event_type, p_unit, p_resource);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this account never had an entry'
            USING ERRCODE = 'no_data_found', DETAIL = 'DATA_ACCOUNT_NOT_FOUND';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION meter.get_user_balances(p_user_id text, p_namespace text DEFAULT NULL)
RETURNS TABLE (
    event_type text, resource text, unit text, balance numeric, reserved numeric, available numeric, as_of timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
    key CONSTANT text := meter.namespace_key(tenant);
    mine CONSTANT text := meter.part_key(coalesce(p_user_id, ''));
BEGIN
    PERFORM meter.check_account(p_user_id, NULL);
    RETURN QUERY
    SELECT meter.full_name(key, known.event_type), nullif(meter.full_name(key, known.resource), ''),
           meter.full_name(key, known.unit), meter.in_units(state.balance, known.scale),
           meter.in_units(state.reserved, known.scale),
           meter.in_units(state.balance - state.reserved, known.scale), (SELECT meter.as_of(tenant))
    FROM meter.accounts AS known
    CROSS JOIN LATERAL meter.state_of(known) AS state
    WHERE known.namespace = key AND known.account >= mine || ':' AND known.account < mine || ';'
    ORDER BY known.account;
END
$$;

CREATE OR REPLACE FUNCTION meter.get_stats(p_namespace text DEFAULT NULL) RETURNS TABLE (
    total_accounts bigint, total_ledger_entries bigint, active_reservations bigint, total_balance numeric,
    total_reserved numeric, as_of timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
    key CONSTANT text := meter.namespace_key(tenant);
BEGIN
    RETURN QUERY
    -- What the rows say, and what holds that were made since changed of that: of other accounts nothing is looked up.
    SELECT coalesce(sum(told.accounts), 0),
           (SELECT coalesce(sum(sums.event_count), 0)::bigint FROM meter.usage_hourly AS sums WHERE sums.namespace = key),
           (SELECT count(*) FROM meter.open_holds AS held WHERE held.namespace = key AND held.leg = 0),
           coalesce(sum(meter.in_units(told.balance, told.scale)), 0),
           coalesce(sum(meter.in_units(told.reserved, told.scale)), 0), (SELECT meter.as_of(tenant))
    FROM (
        SELECT 1 AS accounts, known.scale, known.balance, known.row_reserved AS reserved
        FROM meter.accounts AS known
        WHERE known.namespace = key
        UNION ALL
        SELECT 0, changed.scale, changed.balance, changed.reserved
        FROM (SELECT DISTINCT held.account FROM meter.open_holds AS held WHERE held.namespace = key) AS since
        CROSS JOIN LATERAL (
            SELECT known.scale, state.balance - known.balance AS balance,
                   state.reserved - known.row_reserved AS reserved
            FROM meter.accounts AS known
            CROSS JOIN LATERAL meter.state_of(known) AS state
            WHERE known.namespace = key AND known.account = since.account
            OFFSET 0
        ) AS changed
    ) AS told;
END
$$;

CREATE OR REPLACE FUNCTION meter.reconcile(p_namespace text DEFAULT NULL) RETURNS TABLE (
    user_id text, event_type text, resource text, unit text, issue_type text, expected numeric, actual numeric,
    discrepancy numeric, as_of timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
    key CONSTANT text := meter.namespace_key(tenant);
BEGIN
    RETURN QUERY
    SELECT meter.full_name(key, known.user_id), meter.full_name(key, known.event_type),
           nullif(meter.full_name(key, known.resource), ''), meter.full_name(key, known.unit), issue.name,
           trim_scale(issue.expected), issue.actual, trim_scale(issue.actual - issue.expected), (SELECT meter.as_of(tenant))
    FROM meter.accounts AS known
    CROSS JOIN LATERAL meter.state_of(known) AS state
    LEFT JOIN meter.checkpoints AS mark USING (namespace, account)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(line.amount), 0) AS total
        FROM meter.ledger AS line
        WHERE line.namespace = key AND line.account = known.account AND line.entry_id > coalesce(mark.entry_id, -1)
    ) AS booked
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(hold.amount), 0) AS total
        FROM meter.open_holds AS hold
        WHERE hold.namespace COLLATE "POSIX" = key AND hold.account BETWEEN known.account AND known.account
    ) AS held
    CROSS JOIN LATERAL (VALUES
        ('balance_mismatch', coalesce(mark.total, 0) + booked.total, meter.in_units(state.balance, known.scale)),
        ('reserved_mismatch', meter.in_units(held.total, known.scale), meter.in_units(state.reserved, known.scale))
    ) AS issue (name, expected, actual)
    WHERE known.namespace = key AND issue.expected <> issue.actual
    ORDER BY known.account, issue.name;
END
$$;

-- As holds: before version 15 a view shows what its owner sees, so applications are not granted it.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        ALTER VIEW meter.balances SET (security_invoker = true);
        IF to_regrole('quotagate_app') IS NOT NULL THEN
            GRANT SELECT ON meter.balances TO quotagate_app;
        END IF;
    END IF;
END
$$;

-- As before, with the view.
CREATE OR REPLACE FUNCTION meter.create_roles() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    wanted text;
    owner name;
    relation regclass;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['quotagate_app', 'quotagate_service'] LOOP
        IF to_regrole(wanted) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL; -- another database of this server was quicker
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'role % may not make roles, and there is no role %', current_user, wanted
                        USING ERRCODE = 'insufficient_privilege',
                              HINT = 'Have a superuser run SELECT meter.create_roles() in this database.';
            END;
        END IF;
    END LOOP;
    SELECT pg_get_userbyid(nspowner) INTO owner FROM pg_namespace WHERE nspname = 'meter';
    GRANT USAGE ON SCHEMA meter TO quotagate_app, quotagate_service;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA meter TO quotagate_service;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA meter TO quotagate_service;
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA meter '
                   'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO quotagate_service', owner);
    FOR relation IN SELECT oid FROM pg_class WHERE relnamespace = 'meter'::regnamespace AND relrowsecurity LOOP
        PERFORM meter.admit_service(relation);
    END LOOP;
    GRANT SELECT ON meter.accounts, meter.open_holds, meter.settled_holds, meter.hold_extensions, meter.ledger,
        meter.usage_hourly, meter.long_names, meter.checkpoints, meter.repairs, meter.dropped_months, meter.periods,
        meter.period_days TO quotagate_app;
    GRANT SELECT (shard, epoch, seq, updated_at) ON meter.shards TO quotagate_app;
    IF to_regclass('meter.operations') IS NOT NULL THEN
        GRANT SELECT, INSERT (id, namespace, full_namespace, verb, arguments, actor, key) ON meter.operations
            TO quotagate_app;
    END IF;
    -- Before version 15 a view shows what its owner sees.
    IF current_setting('server_version_num')::integer >= 150000 THEN
        GRANT SELECT ON meter.holds, meter.balances TO quotagate_app;
    END IF;
END
$$;
