-- Who sees whose rows, and what becomes of the ledger's old months.
--
-- Every table that holds rows of a namespace has forced row-level security with two policies. `tenant` shows
-- each role the rows of the namespace in the setting meter.tenant, and none when it is not set (meter.tenant_key
-- is what the tables have for a long one, as meter.set_tenant works out). `service` shows all to the owner of the tables and to members of quotagate_service: those who post and decide for everybody.
-- It is a policy for roles and not a condition on rows, so that for them the planner finds nothing to check and
-- every plan is as it was. FORCE makes it the owner's policy too: what a table shows is then said by its policies
-- alone, and meter.assert_rls_active can tell an application that it would see too much.

-- Shows the rows of one namespace from here to the end of the transaction, or of the session.
CREATE FUNCTION meter.set_tenant(p_tenant_id text, p_whole_session boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF btrim(coalesce(p_tenant_id, '')) = '' THEN
        RAISE EXCEPTION 'a tenant is a namespace: it must not be empty'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'meter.clear_tenant() shows nothing any more.';
    END IF;
    PERFORM set_config('meter.tenant', p_tenant_id, NOT p_whole_session),
            set_config('meter.tenant_key', coalesce(nullif(meter.namespace_key(p_tenant_id), p_tenant_id), ''),
                       NOT p_whole_session);
END
$$;

-- Shows no rows any more, whichever way a tenant was set.
CREATE FUNCTION meter.clear_tenant() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('meter.tenant', '', false), set_config('meter.tenant_key', '', false);
END
$$;

-- The tables and partitions that hold rows of namespaces.
CREATE FUNCTION meter.tenant_tables() RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT found.oid::regclass
    FROM pg_class AS found
    JOIN pg_attribute AS field ON field.attrelid = found.oid
    WHERE found.relnamespace = 'meter'::regnamespace AND found.relkind IN ('r', 'p')
      AND field.attname = 'namespace' AND NOT field.attisdropped
$$;

-- Whether the current role sees rows of every namespace in a table, as the service must and nobody else.
CREATE FUNCTION meter.sees_all(relation regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT NOT row_security_active(relation) OR EXISTS (
        SELECT
        FROM pg_policy AS policy
        CROSS JOIN unnest(policy.polroles) AS admitted (role)
        WHERE policy.polrelid = relation AND policy.polname <> 'tenant' AND policy.polpermissive
          AND CASE WHEN admitted.role = 0 THEN true ELSE pg_has_role(admitted.role, 'USAGE') END
    )
$$;

-- Raises when the current role could see rows of more than one namespace in any table.
CREATE FUNCTION meter.assert_rls_active() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    reason text;
BEGIN
    SELECT CASE WHEN rolsuper THEN 'it is a superuser' WHEN rolbypassrls THEN 'it has BYPASSRLS' END
    INTO reason FROM pg_roles WHERE rolname = current_user;
    IF reason IS NULL THEN
        SELECT 'it is the service of ' || string_agg(relation::text, ', ' ORDER BY relation::text)
        INTO reason FROM meter.tenant_tables() AS relation WHERE meter.sees_all(relation);
    END IF;
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION 'row-level security does not bind role %: %', current_user, reason
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Connect as a role of its own that is granted quotagate_app and nothing else.';
    END IF;
END
$$;

-- Lets the service see all rows of a table: its owner, and the members of quotagate_service.
CREATE FUNCTION meter.admit_service(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog SET client_min_messages = warning AS $$
DECLARE
    services text;
BEGIN
    SELECT concat_ws(', ', quote_ident(owner.rolname), quote_ident(service.rolname)) INTO services
    FROM pg_class AS found
    JOIN pg_roles AS owner ON owner.oid = found.relowner
    LEFT JOIN pg_roles AS service ON service.rolname = 'quotagate_service' AND service.oid <> owner.oid
    WHERE found.oid = relation;
    EXECUTE format('DROP POLICY IF EXISTS service ON %s', relation);
    EXECUTE format('CREATE POLICY service ON %s TO %s USING (true) WITH CHECK (true)', relation, services);
END
$$;

-- Forces row-level security on a table. Every table that holds rows of namespaces must go through here.
CREATE FUNCTION meter.protect(relation regclass, for_tenants boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation);
    PERFORM meter.admit_service(relation);
    IF for_tenants THEN
        EXECUTE format($policy$CREATE POLICY tenant ON %s USING (namespace = coalesce(
            nullif(current_setting('meter.tenant_key', true), ''), current_setting('meter.tenant', true)))$policy$, relation);
    END IF;
END
$$;

-- Makes the two roles of this server, if they lack, and grants them what they need in this database. Safe to
-- repeat. quotagate_app is for applications that read; quotagate_service for gateways that are not the owner.
CREATE FUNCTION meter.create_roles() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
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
        GRANT SELECT ON meter.holds TO quotagate_app;
    END IF;
END
$$;

-- Up to which line an account's old lines are gone, and what they made: their sum, their last balance_after, and
-- the last time at which one of them was recorded. A checkpoint never falls back behind that line.
ALTER TABLE meter.checkpoints
    ADD COLUMN folded_id bigint,
    ADD COLUMN folded_total numeric,
    ADD COLUMN folded_balance numeric,
    ADD COLUMN folded_until timestamptz,
    ADD CHECK (num_nulls(folded_id, folded_total, folded_balance, folded_until) IN (0, 4));

-- Months of the ledger that are gone, by their first day. last_event_time is the latest that a line of it had.
CREATE TABLE meter.dropped_months (
    month date PRIMARY KEY,
    lines bigint NOT NULL,
    last_event_time timestamptz NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT now()
);

DROP FUNCTION meter.create_ledger_partition;

-- Makes the partition for a month of recording (UTC) and gives its name; NULL when it is there. Any number of
-- processes may call it at once; neither readers nor writers of the ledger wait for it.
CREATE FUNCTION meter.create_partition(p_year integer, p_month integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first date := make_date(p_year, p_month, 1);
    next_first date := (first + interval '1 month')::date;
    partition text := 'ledger_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('meter.create_partition', 0));
    IF to_regclass('meter.' || partition) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('CREATE TABLE meter.%I (LIKE meter.ledger INCLUDING ALL, PRIMARY KEY (namespace, entry_id))',
                   partition);
    PERFORM meter.protect(('meter.' || quote_ident(partition))::regclass);
    EXECUTE format(
        'ALTER TABLE meter.ledger ATTACH PARTITION meter.%I FOR VALUES FROM (%L) TO (%L)',
        partition,
        to_char(first, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(next_first, 'YYYY-MM-DD') || ' 00:00:00+00'
    );
    EXECUTE format('CREATE TRIGGER ledger_keep BEFORE TRUNCATE ON meter.%I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION meter.refuse_change()', partition);
    RETURN partition;
END
$$;

-- Makes this month and so many after it, where they lack; gives the names of those it made.
CREATE FUNCTION meter.ensure_partitions(p_months_ahead integer DEFAULT 3) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    first date;
    made text;
BEGIN
    FOR ahead IN 0 .. coalesce(p_months_ahead, 3) LOOP
        first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date;
        made := meter.create_partition(extract(year FROM first)::integer, extract(month FROM first)::integer);
        IF made IS NOT NULL THEN
            RETURN NEXT made;
        END IF;
    END LOOP;
END
$$;

-- Adds the lines of a partition to the checkpoints of their accounts. A checkpoint that has not come so far moves
-- to the last of these lines, its chain of balances checked on the way as meter's reconcile does.
CREATE FUNCTION meter.fold_partition(partition regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    EXECUTE format($fold$
        WITH gone AS (
            SELECT namespace, account, max(entry_id) AS last_id, max(created_at) AS until
            FROM %1$s
            GROUP BY namespace, account
        ), base AS MATERIALIZED (
            SELECT gone.namespace, gone.account, gone.last_id, gone.until, mended.entry_id AS mended_id, mark.broken_id,
                   mark.broken_expected, mark.broken_actual, coalesce(mark.entry_id <= gone.last_id, true) AS moves,
                   CASE WHEN mark.entry_id > gone.last_id THEN coalesce(mark.folded_id, -1)
                        ELSE coalesce(mark.entry_id, -1) END AS from_id,
                   CASE WHEN mark.entry_id > gone.last_id THEN coalesce(mark.folded_total, 0)
                        ELSE coalesce(mark.total, 0) END AS total,
                   coalesce(mark.balance_after, 0) AS balance_after
            FROM gone
            LEFT JOIN meter.checkpoints AS mark USING (namespace, account)
            CROSS JOIN LATERAL (
                SELECT coalesce(max(repair.entry_id), -1) AS entry_id
                FROM meter.repairs AS repair
                WHERE repair.namespace = gone.namespace AND repair.account = gone.account
                  AND repair.entry_id <= gone.last_id
            ) AS mended
            WHERE gone.last_id > coalesce(mark.folded_id, -1)
        ), folded AS (
            SELECT base.*, base.total + coalesce(summed.amount, 0) AS sum, last.balance_after AS balance,
                   CASE WHEN base.broken_id > base.mended_id OR NOT base.moves
                        THEN ARRAY[base.broken_id, base.broken_expected, base.broken_actual]
                        ELSE summed.broken END AS broken
            FROM base
            JOIN %1$s AS last ON last.namespace = base.namespace AND last.entry_id = base.last_id
            CROSS JOIN LATERAL (
                SELECT sum(line.amount) AS amount,
                       min(ARRAY[line.entry_id, line.due, line.balance_after])
                           FILTER (WHERE line.balance_after <> line.due AND line.entry_id > base.mended_id) AS broken
                FROM (
                    SELECT entry_id, amount, balance_after,
                           amount + lag(balance_after, 1, base.balance_after) OVER (ORDER BY entry_id) AS due
                    FROM meter.ledger
                    WHERE namespace = base.namespace AND account = base.account
                      AND entry_id > base.from_id AND entry_id <= base.last_id
                ) AS line
            ) AS summed
        )
        INSERT INTO meter.checkpoints AS mark (
            namespace, account, entry_id, total, balance_after, broken_id, broken_expected, broken_actual, checked_at,
            folded_id, folded_total, folded_balance, folded_until
        )
        SELECT namespace, account, last_id, sum, balance, broken[1], broken[2], broken[3], now(),
               last_id, sum, balance, until
        FROM folded
        ORDER BY namespace, account
        ON CONFLICT (namespace, account) DO UPDATE
        SET (entry_id, total, balance_after, broken_id, broken_expected, broken_actual) = (
                SELECT far.entry_id, far.total, far.balance_after, far.broken_id, far.broken_expected, far.broken_actual
                FROM (SELECT mark.* UNION ALL SELECT excluded.*) AS far
                ORDER BY far.entry_id DESC
                LIMIT 1
            ),
            checked_at = excluded.checked_at,
            folded_id = excluded.folded_id,
            folded_total = excluded.folded_total,
            folded_balance = excluded.folded_balance,
            folded_until = greatest(mark.folded_until, excluded.folded_until)
    $fold$, partition);
END
$$;

-- Drops the months of the ledger that ended so many months before this one began or earlier, the oldest first,
-- and at most so many; gives their names. What they held is folded into the checkpoints before, in the same
-- transaction. Readers and writers wait for the drop itself, not for the folding; a drop that would wait
-- longer than a second for them gives up, and all of the call with it. While another does it, nothing is done.
CREATE FUNCTION meter.drop_old_partitions(p_older_than_months integer DEFAULT 24, p_at_most integer DEFAULT NULL)
RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    cutoff date;
    old record;
BEGIN
    IF p_older_than_months IS NULL OR p_older_than_months < 1 THEN
        RAISE EXCEPTION 'p_older_than_months must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    cutoff := date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => p_older_than_months);
    IF NOT pg_try_advisory_xact_lock(hashtextextended('meter.drop_old_partitions', 0)) THEN
        RETURN;
    END IF;
    FOR old IN
        SELECT found.oid::regclass AS partition, found.relname AS name, month.first
        FROM pg_inherits
        JOIN pg_class AS found ON found.oid = inhrelid
        CROSS JOIN LATERAL (
            SELECT CASE WHEN found.relname ~ '^ledger_\d{4}_\d\d$'
                        THEN to_date(substr(found.relname, 8), 'YYYY_MM') END AS first
        ) AS month
        WHERE inhparent = 'meter.ledger'::regclass AND month.first < cutoff
        ORDER BY month.first
        LIMIT p_at_most
    LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE MODE', old.partition); -- nobody posts into it any more
        PERFORM meter.fold_partition(old.partition);
        EXECUTE format(
            'INSERT INTO meter.dropped_months AS known (month, lines, last_event_time) '
            'SELECT %L::date, count(*), max(event_time) FROM %s HAVING count(*) > 0 '
            'ON CONFLICT (month) DO UPDATE SET lines = known.lines + excluded.lines, dropped_at = now(), '
            'last_event_time = greatest(known.last_event_time, excluded.last_event_time)',
            old.first, old.partition
        );
        EXECUTE format('DROP TABLE %s', old.partition);
        RETURN NEXT old.name;
    END LOOP;
END
$$;

-- The balance an account had at a moment, in its unit: balance_after of its last entry recorded up to then, or
-- nothing before its first. Ids are ordered as the journal is and times of recording never go back inside an
-- epoch, so the entry is found by halving the range of ids. Raises no_data_found for a moment whose lines are
-- gone. It is volatile so that a month that is dropped meanwhile is noticed: what was folded is read last.
CREATE OR REPLACE FUNCTION meter.balance_at(of_namespace text, of_account text, moment timestamptz) RETURNS numeric
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    low bigint := -1;               -- what has an id up to here was recorded at the moment or before
    high bigint := (1::bigint << 53); -- what has an id beyond was recorded after it
    probe bigint := high;
    latest bigint := -1;
    line record;
    folded record;
    balance numeric;
BEGIN
    WHILE low < high LOOP
        SELECT entry_id, created_at, balance_after INTO line
        FROM meter.ledger
        WHERE namespace = of_namespace AND account = of_account AND entry_id > low AND entry_id <= probe
        ORDER BY entry_id DESC
        LIMIT 1;
        IF line.entry_id IS NULL THEN
            low := probe;
        ELSIF line.created_at <= moment THEN
            low := probe;
            latest := line.entry_id;
            balance := line.balance_after;
        ELSE
            high := line.entry_id - 1;
        END IF;
        probe := low + (high - low + 1) / 2;
    END LOOP;
    SELECT mark.folded_id, mark.folded_balance, mark.folded_until, known.created_at INTO folded
    FROM meter.checkpoints AS mark
    JOIN meter.accounts AS known USING (namespace, account)
    WHERE mark.namespace = of_namespace AND mark.account = of_account AND mark.folded_id IS NOT NULL;
    IF folded.folded_id IS NULL OR moment < folded.created_at OR latest > folded.folded_id THEN
        RETURN balance;
    END IF;
    IF moment < folded.folded_until THEN
        RAISE EXCEPTION 'the lines that say the balance at % are no longer kept', moment
            USING ERRCODE = 'no_data_found', HINT = 'It is known from ' || folded.folded_until || ' on.';
    END IF;
    RETURN folded.folded_balance;
END
$$;

REVOKE EXECUTE ON FUNCTION
    meter.admit_service, meter.protect, meter.create_roles, meter.create_partition, meter.ensure_partitions, meter.fold_partition,
    meter.drop_old_partitions
FROM PUBLIC;

DO $$
DECLARE
    relation regclass;
BEGIN
    -- Of keys a tenant sees nothing; what gateways salvaged is of all namespaces at once.
    FOR relation IN SELECT meter.tenant_tables() LOOP
        PERFORM meter.protect(relation, relation <> 'meter.api_keys'::regclass);
    END LOOP;
    PERFORM meter.protect('meter.salvaged', false);
    IF current_setting('server_version_num')::integer >= 150000 THEN
        ALTER VIEW meter.holds SET (security_invoker = true);
    END IF;
    BEGIN
        PERFORM meter.create_roles();
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE WARNING '%; applications cannot be told apart until a superuser has run SELECT meter.create_roles()',
            SQLERRM;
    END;
END
$$;
