-- What may be asked for in SQL is what may be asked for elsewhere, by the same codes: days, allocations, metadata, actors.

CREATE OR REPLACE FUNCTION meter.check_day(field text, day date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF day IS NULL THEN
        PERFORM meter.refuse(field, 'VAL_' || upper(field) || '_NULL', 'is required');
    ELSIF day < '1970-01-02' OR day > '9998-12-31' THEN
        PERFORM meter.refuse(field, 'VAL_' || upper(field) || '_OUT_OF_RANGE', 'must be between 1970-01-02 and 9998-12-31');
    END IF;
END
$$;

-- What nests deeper than 32, the object itself included, the worker could not even read.
CREATE OR REPLACE FUNCTION meter.check_words(idempotency_key text, metadata jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF idempotency_key IS NOT NULL THEN
        PERFORM meter.check_name('idempotency_key', idempotency_key, NULL, 512);
    END IF;
    IF jsonb_typeof(metadata) <> 'object' THEN
        PERFORM meter.refuse('metadata', 'VAL_METADATA_INVALID_TYPE', 'must be an object');
    ELSIF octet_length(metadata::text) > 16384 THEN
        PERFORM meter.refuse('metadata', 'VAL_METADATA_TOO_LONG', 'must be at most 16384 bytes');
    ELSIF jsonb_path_exists(metadata, 'strict $.**{32} ? (@.type() == "object" || @.type() == "array")') THEN
        PERFORM meter.refuse('metadata', 'VAL_METADATA_TOO_DEEP', 'must nest at most 32 deep');
    END IF;
END
$$;

-- Spaces at the edges are harmless in words that are only kept.
CREATE OR REPLACE FUNCTION meter.set_actor(
    p_actor_id text, p_request_id text DEFAULT NULL, p_on_behalf_of text DEFAULT NULL, p_reason text DEFAULT NULL
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM meter.check_name(field, btrim(value, ' '), NULL, 512)
    FROM (VALUES ('actor_id', p_actor_id), ('request_id', p_request_id), ('on_behalf_of', p_on_behalf_of),
                 ('reason', p_reason)) AS part (field, value)
    WHERE value IS NOT NULL OR field = 'actor_id';
    PERFORM set_config('meter.actor_id', p_actor_id, true),
            set_config('meter.request_id', coalesce(p_request_id, ''), true),
            set_config('meter.on_behalf_of', coalesce(p_on_behalf_of, ''), true),
            set_config('meter.reason', coalesce(p_reason, ''), true);
END
$$;

CREATE OR REPLACE FUNCTION meter.set_period_config(
    p_user_id text, p_event_type text, p_unit text, p_resource text, p_period_start date,
    p_period_allocation numeric, p_carry_over_limit numeric DEFAULT NULL, p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit);
    PERFORM meter.check_amount('period_allocation', p_period_allocation, meter.scale_of(p_unit), 'not_negative');
    IF p_carry_over_limit IS NOT NULL THEN
        PERFORM meter.check_amount('carry_over_limit', p_carry_over_limit, meter.scale_of(p_unit), 'any');
    END IF;
    IF p_carry_over_limit < 0 THEN
        PERFORM meter.refuse('carry_over_limit', 'VAL_CARRY_OVER_NEGATIVE', 'must not be negative; null is no limit');
    END IF;
    PERFORM meter.check_account(p_user_id, p_resource);
    PERFORM meter.check_day('period_start', p_period_start);
    RETURN meter.record_operation(namespace, 'set_period_config', jsonb_build_object(
        'user_id', p_user_id, 'event_type', p_event_type, 'unit', p_unit, 'resource', p_resource, 'period_start',
        p_period_start, 'period_allocation', p_period_allocation, 'carry_over_limit', p_carry_over_limit
    ), NULL);
END
$$;

CREATE OR REPLACE FUNCTION meter.open_period(
    p_user_id text, p_event_type text, p_unit text, p_resource text, p_period_start date,
    p_allocation numeric DEFAULT NULL, p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit);
    IF p_allocation IS NOT NULL THEN
        PERFORM meter.check_amount('allocation', p_allocation, meter.scale_of(p_unit), 'any');
    END IF;
    IF p_allocation <= 0 THEN
        PERFORM meter.refuse('allocation', 'VAL_ALLOCATION_REQUIRED', 'must be more than zero');
    END IF;
    PERFORM meter.check_account(p_user_id, p_resource);
    PERFORM meter.check_day('period_start', p_period_start);
    RETURN meter.record_operation(namespace, 'open_period', jsonb_build_object(
        'user_id', p_user_id, 'event_type', p_event_type, 'unit', p_unit, 'resource', p_resource,
        'period_start', p_period_start, 'allocation', p_allocation
    ), NULL);
END
$$;

-- In the audit, too, nothing is taken away all at once.
CREATE TRIGGER audit_events_keep BEFORE TRUNCATE ON meter.audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION meter.refuse_change();

-- A name that no namespace can have would show nothing, and nobody would know why.
CREATE OR REPLACE FUNCTION meter.set_tenant(p_tenant_id text, p_whole_session boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM meter.check_name('namespace', p_tenant_id, 1024, NULL);
    PERFORM set_config('meter.tenant', p_tenant_id, NOT p_whole_session),
            set_config('meter.tenant_key', coalesce(nullif(meter.namespace_key(p_tenant_id), p_tenant_id), ''),
                       NOT p_whole_session);
END
$$;
