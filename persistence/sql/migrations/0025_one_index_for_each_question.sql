-- What is looked up by key is to be found by that key whatever the planner believes of a table. It may not have heard
-- yet of the many holds of a namespace, or remember a table that was all but empty: then every index that begins with
-- the namespace looks as good as the right one, and each hold of a batch is compared with all holds of the namespace.
-- An index of another collation serves only those who ask in that collation. "POSIX" sorts as "C" does.
DROP INDEX meter.open_holds_by_account;
CREATE INDEX open_holds_by_account ON meter.open_holds (namespace COLLATE "POSIX", account);

-- As before, but for how they ask for the holds of an account: of a range the planner never believes that it is all.
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
           meter.in_units(known.balance, known.scale), meter.in_units(known.reserved, known.scale),
           meter.in_units(known.balance - known.reserved, known.scale),
           (SELECT count(*)
            FROM meter.open_holds AS h
            WHERE h.namespace COLLATE "POSIX" = known.namespace AND h.account BETWEEN known.account AND known.account),
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
        ('balance_mismatch', coalesce(mark.total, 0) + booked.total, meter.in_units(known.balance, known.scale)),
        ('reserved_mismatch', meter.in_units(held.total, known.scale), meter.in_units(known.reserved, known.scale))
    ) AS issue (name, expected, actual)
    WHERE known.namespace = key AND issue.expected <> issue.actual
    ORDER BY known.account, issue.name;
END
$$;
