-- Usage in SQL, and what of it can no longer be known.

-- The first of some hours of which a report has to read the lines, and of which lines are gone: more were summed up
-- than are there. Only hours that lines of dropped months could belong to are looked at. Where first and beyond are
-- null, all accounts are.
CREATE FUNCTION meter.usage_gap(of_namespace text, first text, beyond text, hours timestamptz[]) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN (
        WITH part AS (
            SELECT DISTINCT hour
            FROM unnest(hours) AS part (hour)
            WHERE hour <= (SELECT max(last_event_time) FROM meter.dropped_months)
        ), span AS MATERIALIZED (
            SELECT part.hour, span.low, span.high
            FROM part CROSS JOIN LATERAL meter.recorded_between(of_namespace, hour, hour + interval '1 hour') AS span
        )
        SELECT min(summed.hour)
        FROM part
        JOIN meter.usage_hourly AS summed ON summed.hour = part.hour
        CROSS JOIN LATERAL (
            SELECT count(*) AS lines
            FROM span
            JOIN meter.ledger AS line
                ON line.namespace = of_namespace AND line.account = summed.account AND line.entry_type = 'consumption'
               AND line.entry_id > span.low AND line.entry_id <= span.high AND line.event_time = line.created_at
            WHERE span.hour = summed.hour
        ) AS recorded
        CROSS JOIN LATERAL (
            SELECT count(*) AS lines
            FROM meter.ledger AS line
            WHERE line.namespace = of_namespace AND line.account = summed.account AND line.entry_type = 'consumption'
              AND line.event_time >= summed.hour AND line.event_time < summed.hour + interval '1 hour'
              AND line.event_time <> line.created_at
        ) AS dated
        WHERE summed.namespace = of_namespace AND summed.entry_type = 'consumption'
          AND (first IS NULL OR (summed.account >= first AND summed.account < beyond))
          AND summed.event_count > recorded.lines + dated.lines
    );
END
$$;

-- What was consumed by the accounts whose texts lie in [first, beyond), or by all of them where these are null:
-- whole hours from their sums, the parts of hours at both ends from their lines. Refused where such lines are gone.
CREATE FUNCTION meter.consumed_between(
    of_namespace text, first text, beyond text, start timestamptz, until timestamptz
) RETURNS TABLE (account text, total numeric, event_count numeric)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    from_hour CONSTANT timestamptz := to_timestamp(ceil(extract(epoch FROM start) / 3600) * 3600);
    until_hour CONSTANT timestamptz := to_timestamp(floor(extract(epoch FROM until) / 3600) * 3600);
    parts CONSTANT tstzrange[] := CASE
        WHEN start >= until THEN '{}'
        WHEN until_hour < from_hour THEN ARRAY[tstzrange(start, until)]
        ELSE ARRAY[tstzrange(start, from_hour), tstzrange(until_hour, until)]
    END;
    gap timestamptz;
BEGIN
    RETURN QUERY
    WITH part AS (
        SELECT lower(part) AS start, upper(part) AS until,
               to_timestamp(floor(extract(epoch FROM lower(part)) / 3600) * 3600) AS hour
        FROM unnest(parts) AS part
        WHERE NOT isempty(part)
    ), span AS MATERIALIZED (
        SELECT part.start, found.low, found.high
        FROM part CROSS JOIN LATERAL meter.recorded_between(of_namespace, part.start, part.until) AS found
    ), active AS MATERIALIZED (
        SELECT sums.account, part.start, part.until
        FROM part
        JOIN meter.usage_hourly AS sums ON sums.hour = part.hour
        WHERE sums.namespace = of_namespace AND sums.entry_type = 'consumption'
          AND (first IS NULL OR (sums.account >= first AND sums.account < beyond))
    ), counted AS (
        SELECT sums.account, sum(sums.total) AS total, sum(sums.event_count) AS event_count
        FROM meter.usage_hourly AS sums
        WHERE sums.namespace = of_namespace AND sums.entry_type = 'consumption'
          AND sums.hour >= from_hour AND sums.hour < until_hour
          AND (first IS NULL OR (sums.account >= first AND sums.account < beyond))
        GROUP BY sums.account
        UNION ALL
        SELECT active.account, sum(line.amount), count(*)
        FROM active
        JOIN span ON span.start = active.start
        JOIN meter.ledger AS line ON line.namespace = of_namespace AND line.account = active.account
            AND line.entry_id > span.low AND line.entry_id <= span.high
        WHERE line.entry_type = 'consumption' AND line.event_time = line.created_at
        GROUP BY active.account
        UNION ALL
        SELECT active.account, sum(line.amount), count(*)
        FROM active
        JOIN meter.ledger AS line ON line.namespace = of_namespace AND line.account = active.account
            AND line.event_time >= active.start AND line.event_time < active.until
        WHERE line.entry_type = 'consumption' AND line.event_time <> line.created_at
        GROUP BY active.account
    )
    SELECT counted.account::text, -sum(counted.total), sum(counted.event_count) FROM counted GROUP BY counted.account;
    gap := meter.usage_gap(of_namespace, first, beyond, ARRAY(
        SELECT to_timestamp(floor(extract(epoch FROM lower(part)) / 3600) * 3600)
        FROM unnest(parts) AS part WHERE NOT isempty(part)
    ));
    IF gap IS NOT NULL THEN
        PERFORM meter.refuse(
            CASE WHEN start >= gap AND start < gap + interval '1 hour' THEN 'start_time' ELSE 'end_time' END,
            'DATA_NOT_KEPT',
            'lies in a time whose ledger entries are no longer kept. Ask for whole hours (UTC).'
        );
    END IF;
END
$$;

CREATE FUNCTION meter.get_usage(
    p_user_id text, p_start_time timestamptz, p_end_time timestamptz, p_namespace text DEFAULT NULL
) RETURNS TABLE (
    event_type text, resource text, unit text, total_consumed numeric, event_count bigint, as_of timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
    key CONSTANT text := meter.namespace_key(tenant);
    mine CONSTANT text := meter.part_key(coalesce(p_user_id, ''));
BEGIN
    PERFORM meter.check_moment('start_time', p_start_time), meter.check_moment('end_time', p_end_time),
            meter.check_account(p_user_id, NULL);
    RETURN QUERY
    SELECT meter.full_name(key, known.event_type), nullif(meter.full_name(key, known.resource), ''),
           meter.full_name(key, known.unit), trim_scale(used.total), used.event_count::bigint, (SELECT meter.as_of(tenant))
    FROM meter.consumed_between(key, mine || ':', mine || ';', p_start_time, p_end_time) AS used
    JOIN meter.accounts AS known ON known.namespace = key AND known.account = used.account
    ORDER BY known.event_type, known.resource NULLS FIRST, known.unit;
END
$$;

CREATE FUNCTION meter.get_namespace_usage(
    p_start_time timestamptz, p_end_time timestamptz, p_namespace text DEFAULT NULL
) RETURNS TABLE (
    event_type text, resource text, unit text, total_consumed numeric, event_count bigint, unique_users bigint, as_of timestamptz
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    tenant CONSTANT text := meter.namespace_of(p_namespace);
    key CONSTANT text := meter.namespace_key(tenant);
BEGIN
    PERFORM meter.check_moment('start_time', p_start_time), meter.check_moment('end_time', p_end_time);
    RETURN QUERY
    SELECT meter.full_name(key, known.event_type), nullif(meter.full_name(key, known.resource), ''),
           meter.full_name(key, known.unit), trim_scale(sum(used.total)), sum(used.event_count)::bigint,
           count(DISTINCT known.user_id), (SELECT meter.as_of(tenant))
    FROM meter.consumed_between(key, NULL, NULL, p_start_time, p_end_time) AS used
    JOIN meter.accounts AS known ON known.namespace = key AND known.account = used.account
    GROUP BY known.event_type, known.resource, known.unit
    ORDER BY known.event_type, known.resource NULLS FIRST, known.unit;
END
$$;
