-- What becomes of holds that were settled in months of which the ledger's lines are gone.

-- Until when the holds that are gone counted on an account: what was reserved on it before is no longer known.
CREATE TABLE meter.dropped_holds (
    namespace text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (namespace, account)
);

SELECT meter.protect('meter.dropped_holds');

-- Drops holds that were committed or released before so many whole months before this one, with how they were
-- extended, and at most so many; gives their number. One that expired stays: a commit of it may still come, and is
-- charged however late. While a namespace has a call to be undone, its holds stay too, for that may read them.
-- While another process does it, nothing is done; what somebody else is at is left to the next time.
CREATE FUNCTION meter.drop_old_holds(p_older_than_months integer DEFAULT 24, p_at_most integer DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    cutoff timestamptz;
    dropped bigint;
BEGIN
    IF p_older_than_months IS NULL OR p_older_than_months < 1 THEN
        RAISE EXCEPTION 'p_older_than_months must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('meter.drop_old_holds', 0)) THEN
        RETURN 0;
    END IF;
    cutoff := (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => p_older_than_months))
        AT TIME ZONE 'UTC';
    -- Each namespace is found by one step through the index of the lists, and in it the oldest holds of each status.
    WITH RECURSIVE tenant AS (
        SELECT min(namespace) AS namespace FROM meter.settled_holds WHERE leg = 0
        UNION ALL
        SELECT (SELECT min(held.namespace) FROM meter.settled_holds AS held
                WHERE held.leg = 0 AND held.namespace > tenant.namespace)
        FROM tenant
        WHERE tenant.namespace IS NOT NULL
    ), old AS MATERIALIZED (
        SELECT found.namespace, found.hold_id
        FROM tenant
        CROSS JOIN unnest('{committed,released}'::text[]) AS wanted (status)
        CROSS JOIN LATERAL (
            SELECT held.namespace, held.hold_id
            FROM meter.settled_holds AS held
            WHERE held.namespace = tenant.namespace AND held.leg = 0 AND held.status = wanted.status
              AND held.created_at < cutoff AND held.settled_at < cutoff
            LIMIT p_at_most
            FOR UPDATE SKIP LOCKED
        ) AS found
        WHERE NOT EXISTS (
            SELECT FROM meter.duplicates AS again
            WHERE again.state = 'pending' AND again.namespace = tenant.namespace
        )
        LIMIT p_at_most
    ), extended AS (
        DELETE FROM meter.hold_extensions AS extension
        USING old
        WHERE extension.namespace = old.namespace AND extension.hold_id = old.hold_id
    ), gone AS (
        DELETE FROM meter.settled_holds AS held
        USING old
        WHERE held.namespace = old.namespace AND held.hold_id = old.hold_id
        RETURNING held.namespace, held.account, held.leg, least(held.settled_at, held.expires_at) AS until
    ), marked AS (
        INSERT INTO meter.dropped_holds AS known (namespace, account, until)
        SELECT namespace, account, max(until) FROM gone GROUP BY namespace, account ORDER BY namespace, account
        ON CONFLICT (namespace, account) DO UPDATE SET until = greatest(known.until, excluded.until)
    )
    SELECT count(*) INTO dropped FROM gone WHERE leg = 0;
    RETURN dropped;
END
$$;

REVOKE EXECUTE ON FUNCTION meter.drop_old_holds FROM PUBLIC;

DO $$
BEGIN
    IF to_regrole('quotagate_service') IS NOT NULL THEN
        GRANT EXECUTE ON FUNCTION meter.drop_old_holds TO quotagate_service;
    END IF;
END
$$;
