-- The rest of the inbox's verbs, and reports for people who work in SQL: of the ledger, as it is at as_of.

CREATE FUNCTION meter.commit(
    p_reservation_id text, p_actual_amount numeric, p_metadata jsonb DEFAULT NULL, p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
    scale CONSTANT text := substring(p_reservation_id FROM '^rsv_([0-9])[0-9]{0,7}_[0-9a-f]{24}$');
BEGIN
    PERFORM meter.refuse('reservation_id', 'VAL_RESERVATION_ID_NULL', 'is required') WHERE p_reservation_id IS NULL;
    PERFORM meter.check_amount('actual_amount', p_actual_amount, coalesce(scale, '6')::integer, 'not_negative');
    PERFORM meter.check_words(NULL, p_metadata);
    RETURN meter.record_operation(namespace, 'commit', jsonb_build_object(
        'reservation_id', p_reservation_id, 'actual_amount', p_actual_amount, 'metadata', p_metadata
    ), NULL);
END
$$;

CREATE FUNCTION meter.release(p_reservation_id text, p_namespace text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.refuse('reservation_id', 'VAL_RESERVATION_ID_NULL', 'is required') WHERE p_reservation_id IS NULL;
    RETURN meter.record_operation(namespace, 'release', jsonb_build_object('reservation_id', p_reservation_id), NULL);
END
$$;

CREATE FUNCTION meter.set_period_config(
    p_user_id text, p_event_type text, p_unit text, p_resource text, p_period_start date,
    p_period_allocation numeric, p_carry_over_limit numeric DEFAULT NULL, p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit);
    PERFORM meter.check_amount('period_allocation', p_period_allocation, meter.scale_of(p_unit), 'not_negative');
    IF p_carry_over_limit < 0 THEN
        PERFORM meter.refuse('carry_over_limit', 'VAL_CARRY_OVER_NEGATIVE', 'must not be negative');
    ELSIF p_carry_over_limit IS NOT NULL THEN
        PERFORM meter.check_amount('carry_over_limit', p_carry_over_limit, meter.scale_of(p_unit), 'not_negative');
    END IF;
    PERFORM meter.check_account(p_user_id, p_resource);
    PERFORM meter.check_day('period_start', p_period_start);
    RETURN meter.record_operation(namespace, 'set_period_config', jsonb_build_object(
        'user_id', p_user_id, 'event_type', p_event_type, 'unit', p_unit, 'resource', p_resource, 'period_start',
        p_period_start, 'period_allocation', p_period_allocation, 'carry_over_limit', p_carry_over_limit
    ), NULL);
END
$$;

CREATE FUNCTION meter.open_period(
    p_user_id text, p_event_type text, p_unit text, p_resource text, p_period_start date,
    p_allocation numeric DEFAULT NULL, p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit);
    IF p_allocation IS NOT NULL THEN
        PERFORM meter.check_amount('allocation', p_allocation, meter.scale_of(p_unit), 'not_negative');
    END IF;
    PERFORM meter.check_account(p_user_id, p_resource);
    PERFORM meter.check_day('period_start', p_period_start);
    RETURN meter.record_operation(namespace, 'open_period', jsonb_build_object(
        'user_id', p_user_id, 'event_type', p_event_type, 'unit', p_unit, 'resource', p_resource,
        'period_start', p_period_start, 'allocation', p_allocation
    ), NULL);
END
$$;

CREATE FUNCTION meter.close_period(
    p_user_id text, p_event_type text, p_unit text, p_resource text, p_period_end date, p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit);
    PERFORM meter.check_account(p_user_id, p_resource);
    PERFORM meter.check_day('period_end', p_period_end);
    RETURN meter.record_operation(namespace, 'close_period', jsonb_build_object(
        'user_id', p_user_id, 'event_type', p_event_type, 'unit', p_unit, 'resource', p_resource,
        'period_end', p_period_end
    ), NULL);
END
$$;

CREATE FUNCTION meter.release_expired_reservations(p_namespace text DEFAULT NULL) RETURNS uuid
LANGUAGE sql SET search_path = pg_catalog AS $$
    SELECT meter.record_operation(meter.namespace_of(p_namespace), 'release_expired_reservations', '{}', NULL)
$$;

-- Until when the ledger has everything of a namespace: the time of the last posting from its shard, which may be
-- long ago where nothing has happened since. As its owner, for a shard is no tenant's; it tells a time alone.
CREATE FUNCTION meter.as_of(p_namespace text DEFAULT NULL) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT updated_at FROM meter.shards WHERE shard = meter.shard_of(meter.namespace_of(p_namespace))
$$;

-- A name in full; both arguments as the tables have them.
CREATE FUNCTION meter.full_name(of_namespace text, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN strpos(name, E'\x01') = 0 THEN name ELSE (
        SELECT long.name FROM meter.long_names AS long WHERE long.namespace = of_namespace AND long.key = $2
    ) END
$$;

-- A scaled integer as the exact decimal that people see.
CREATE FUNCTION meter.in_units(scaled numeric, scale integer) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT trim_scale(scaled / 10::numeric ^ scale)
$$;

CREATE FUNCTION meter.get_balance(
    p_user_id text, p_event_type text, p_unit text, p_resource text DEFAULT NULL, p_namespace text DEFAULT NULL
) RETURNS TABLE (balance numeric, reserved numeric, available numeric, as_of timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit), meter.check_account(p_user_id, p_resource);
    RETURN QUERY
    SELECT meter.in_units(coalesce(known.balance, 0), meter.scale_of(p_unit)),
           meter.in_units(coalesce(known.reserved, 0), meter.scale_of(p_unit)),
           meter.in_units(coalesce(known.balance - known.reserved, 0), meter.scale_of(p_unit)),
           (SELECT meter.as_of(tenant))
    FROM (VALUES (meter.account_key(p_user_id, p_event_type, p_unit, p_resource))) AS wanted (account)
    LEFT JOIN meter.accounts AS known
        ON known.namespace = meter.namespace_key(tenant) AND known.account = wanted.account;
END
$$;

CREATE FUNCTION meter.get_account(
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
           meter.in_units(known.balance, known.scale), meter.in_units(known.reserved, known.scale),
           meter.in_units(known.balance - known.reserved, known.scale),
           (SELECT count(*) FROM meter.open_holds AS h WHERE h.namespace = known.namespace AND h.account = known.account),
           terms.anchor, meter.in_units(terms.allocation, known.scale),
           meter.in_units(terms.carry_over_limit, known.scale), terms.every::text, terms.time_zone::text, opened.day,
           meter.in_units(opened.amount, known.scale), CASE WHEN opened.day = terms.running THEN terms.due_at END,
           known.created_at, known.updated_at, (SELECT meter.as_of(tenant))
    FROM meter.accounts AS known
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

CREATE FUNCTION meter.get_user_balances(p_user_id text, p_namespace text DEFAULT NULL)
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
           meter.full_name(key, known.unit), meter.in_units(known.balance, known.scale),
           meter.in_units(known.reserved, known.scale),
           meter.in_units(known.balance - known.reserved, known.scale), (SELECT meter.as_of(tenant))
    FROM meter.accounts AS known
    WHERE known.namespace = key AND known.account >= mine || ':' AND known.account < mine || ';'
    ORDER BY known.account;
END
$$;

CREATE FUNCTION meter.get_ledger(
    p_user_id text, p_event_type text, p_unit text, p_resource text DEFAULT NULL,
    p_start_time timestamptz DEFAULT NULL, p_end_time timestamptz DEFAULT NULL, p_limit integer DEFAULT 100,
    p_namespace text DEFAULT NULL
) RETURNS TABLE (
    id bigint, entry_type text, amount numeric, balance_after numeric, event_time timestamptz, reservation_id text,
    reference_id bigint, actor_id text, reason text, metadata jsonb, request_id text, on_behalf_of text,
    created_at timestamptz, as_of timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
    key CONSTANT text := meter.namespace_key(tenant);
    mine CONSTANT text := meter.account_key(p_user_id, p_event_type, p_unit, p_resource);
    since CONSTANT timestamptz := coalesce(p_start_time, '-infinity');
    until CONSTANT timestamptz := coalesce(p_end_time, 'infinity');
    whole CONSTANT boolean := p_start_time IS NULL AND p_end_time IS NULL;
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit), meter.check_account(p_user_id, p_resource);
    IF p_limit IS NULL OR p_limit < 1 THEN
        PERFORM meter.refuse('limit', 'VAL_NOT_POSITIVE', 'must be at least 1');
    ELSIF p_limit > 10000 THEN
        PERFORM meter.refuse('limit', 'VAL_LIMIT_TOO_LARGE', 'must be at most 10000');
    END IF;
    -- All lines; or those recorded in the window, found by their place in the journal, and those given a time in it.
    RETURN QUERY
    WITH line AS (
        (
            SELECT *
            FROM meter.ledger AS kept
            WHERE whole AND kept.namespace = key AND kept.account = mine
            ORDER BY kept.entry_id DESC
            LIMIT p_limit
        )
        UNION ALL
        (
            SELECT recorded.*
            FROM meter.recorded_between(key, since, until) AS span
            CROSS JOIN LATERAL (
                SELECT *
                FROM meter.ledger AS kept
                WHERE kept.namespace = key AND kept.account = mine AND kept.entry_id > span.low
                  AND kept.entry_id <= span.high AND kept.event_time = kept.created_at
                ORDER BY kept.entry_id DESC
                LIMIT p_limit
            ) AS recorded
            WHERE NOT whole
        )
        UNION ALL
        (
            SELECT *
            FROM meter.ledger AS given
            WHERE NOT whole AND given.namespace = key AND given.account = mine AND given.event_time >= since
              AND given.event_time < until AND given.event_time <> given.created_at
            ORDER BY given.entry_id DESC
            LIMIT p_limit
        )
    )
    SELECT line.entry_id, line.entry_type::text, trim_scale(line.amount), trim_scale(line.balance_after),
           line.event_time, line.reservation_id::text, line.reference_id, line.actor_id, line.reason,
           line.metadata::jsonb, line.request_id, line.on_behalf_of, line.created_at, (SELECT meter.as_of(tenant))
    FROM line
    ORDER BY line.entry_id DESC
    LIMIT p_limit;
END
$$;

CREATE FUNCTION meter.get_stats(p_namespace text DEFAULT NULL) RETURNS TABLE (
    total_accounts bigint, total_ledger_entries bigint, active_reservations bigint, total_balance numeric,
    total_reserved numeric, as_of timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
    key CONSTANT text := meter.namespace_key(tenant);
BEGIN
    RETURN QUERY
    SELECT count(*),
           (SELECT coalesce(sum(sums.event_count), 0)::bigint FROM meter.usage_hourly AS sums WHERE sums.namespace = key),
           (SELECT count(*) FROM meter.open_holds AS held WHERE held.namespace = key AND held.leg = 0),
           coalesce(sum(meter.in_units(known.balance, known.scale)), 0),
           coalesce(sum(meter.in_units(known.reserved, known.scale)), 0), (SELECT meter.as_of(tenant))
    FROM meter.accounts AS known
    WHERE known.namespace = key;
END
$$;

-- What of the ledger does not agree with itself: an account's balance with its lines, from its checkpoint on, and
-- what is reserved with its open holds. Whether Redis agrees is seen by the gateway's own reconcile.
CREATE FUNCTION meter.reconcile(p_namespace text DEFAULT NULL) RETURNS TABLE (
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
    LEFT JOIN meter.checkpoints AS mark USING (namespace, account)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(line.amount), 0) AS total
        FROM meter.ledger AS line
        WHERE line.namespace = key AND line.account = known.account AND line.entry_id > coalesce(mark.entry_id, -1)
    ) AS booked
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(hold.amount), 0) AS total
        FROM meter.open_holds AS hold
        WHERE hold.namespace = key AND hold.account = known.account
    ) AS held
    CROSS JOIN LATERAL (VALUES
        ('balance_mismatch', coalesce(mark.total, 0) + booked.total, meter.in_units(known.balance, known.scale)),
        ('reserved_mismatch', meter.in_units(held.total, known.scale), meter.in_units(known.reserved, known.scale))
    ) AS issue (name, expected, actual)
    WHERE known.namespace = key AND issue.expected <> issue.actual
    ORDER BY known.account, issue.name;
END
$$;
