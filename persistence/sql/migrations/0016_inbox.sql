-- The inbox: operations that SQL functions record in the transactions of their callers. They are carried out by a
-- gateway's worker once that transaction has committed, each exactly once, those of a namespace in order.
--
-- First, how namespaces and accounts are named in the tables: gateway/domain/names.py and persistence/names.py.

-- The slot of a namespace, in full or as the tables have it: its CRC-32, half a byte at a time.
CREATE FUNCTION meter.shard_of(namespace text) RETURNS smallint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
DECLARE
    steps CONSTANT bigint[] := ARRAY[
        0, 498536548, 997073096, 651767980, 1994146192, 1802195444, 1303535960, 1342533948,
        3988292384, 4027552580, 3604390888, 3412177804, 2607071920, 2262029012, 2685067896, 3183342108
    ];
    name CONSTANT bytea := convert_to(namespace, 'UTF8');
    crc bigint := 4294967295;
BEGIN
    IF strpos(namespace, E'\x01') > 0 THEN
        RETURN substring(namespace FROM '@([0-9]+)$')::smallint;
    END IF;
    FOR place IN 0 .. length(name) - 1 LOOP
        crc := crc # get_byte(name, place);
        crc := (crc >> 4) # steps[(crc & 15) + 1];
        crc := (crc >> 4) # steps[(crc & 15) + 1];
    END LOOP;
    RETURN (crc # 4294967295) % 128;
END
$$;

-- A name percent-encoded, as it is part of an account's text.
CREATE FUNCTION meter.quoted(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN name ~ '^[A-Za-z0-9_.~-]*$' THEN name ELSE (
        SELECT string_agg(
            CASE WHEN part ~ '[A-Za-z0-9_.~-]' THEN part
                 ELSE regexp_replace(upper(encode(convert_to(part, 'UTF8'), 'hex') COLLATE "C"), '(..)', '%\1', 'g')
            END,
            '' ORDER BY place
        )
        FROM regexp_split_to_table(name, '') WITH ORDINALITY AS split (part, place)
    ) END
$$;

-- What stands in the tables for a long name: its first bytes, U+0001 and its SHA-256.
CREATE FUNCTION meter.long_key(name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
DECLARE
    whole CONSTANT bytea := convert_to(name, 'UTF8');
    beginning integer := 40;
BEGIN
    WHILE get_byte(whole, beginning) BETWEEN 128 AND 191 LOOP -- no character is cut in two
        beginning := beginning - 1;
    END LOOP;
    RETURN convert_from(substring(whole FOR beginning), 'UTF8') || E'\x01' || encode(sha256(whole), 'hex');
END
$$;

CREATE FUNCTION meter.namespace_key(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN octet_length(name) <= 800 THEN name
                ELSE meter.long_key(name) || '@' || meter.shard_of(name) END
$$;

-- A part of an account's text as the tables have it.
CREATE FUNCTION meter.part_key(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN length(whole) <= 400 THEN whole ELSE meter.quoted(meter.long_key(name)) END
    FROM meter.quoted(name) AS quoted (whole)
$$;

CREATE FUNCTION meter.account_key(user_id text, event_type text, unit text, resource text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT meter.part_key(coalesce(user_id, '')) || ':' || meter.part_key(event_type) || ':'
           || meter.part_key(unit) || ':' || meter.part_key(coalesce(resource, ''))
$$;

-- The decimal places of a unit.
CREATE FUNCTION meter.scale_of(unit text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN unit IN ('tokens', 'requests', 'calls', 'bytes', 'pages', 'count') THEN 0 ELSE 6 END
$$;

-- Second, what may be asked for. Whatever may not is an error of the caller's own transaction: its message names
-- the field, its detail is the code.
CREATE FUNCTION meter.refuse(field text, code text, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION '%: %', field, reason
        USING ERRCODE = 'invalid_parameter_value', DETAIL = code, COLUMN = field;
END
$$;

CREATE FUNCTION meter.check_name(field text, value text, max_chars integer, max_bytes integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    prefix CONSTANT text := 'VAL_' || upper(field);
BEGIN
    IF value IS NULL THEN
        PERFORM meter.refuse(field, prefix || '_NULL', 'is required');
    ELSIF btrim(value, ' ') = '' THEN
        PERFORM meter.refuse(field, prefix || '_EMPTY', 'must not be empty');
    ELSIF length(value) > max_chars THEN
        PERFORM meter.refuse(field, prefix || '_TOO_LONG', format('must be at most %s characters', max_chars));
    ELSIF value ~ '[\u0001-\u001f\u007f\u0085\u2028\u2029]' THEN
        PERFORM meter.refuse(field, prefix || '_INVALID_CHARS', 'must not contain control characters');
    ELSIF value <> btrim(value, ' ') THEN
        PERFORM meter.refuse(field, prefix || '_WHITESPACE', 'must not begin or end with a space');
    ELSIF octet_length(value) > max_bytes THEN
        PERFORM meter.refuse(field, prefix || '_TOO_LONG', format('must be at most %s bytes of UTF-8', max_bytes));
    END IF;
END
$$;

CREATE FUNCTION meter.check_kind(event_type text, unit text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM meter.check_name('event_type', event_type, 256, NULL);
    PERFORM meter.check_name('unit', unit, 64, NULL);
END
$$;

CREATE FUNCTION meter.check_account(user_id text, resource text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF user_id IS NOT NULL THEN
        PERFORM meter.check_name('user_id', user_id, NULL, 4096);
    END IF;
    IF resource <> '' THEN
        PERFORM meter.check_name('resource', resource, NULL, 4096);
    END IF;
END
$$;

-- sign: what the amount must be: positive, not_negative, or not_zero.
CREATE FUNCTION meter.check_amount(field text, amount numeric, scale integer, sign text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    most CONSTANT numeric := trim_scale(9007199254740991 / 10::numeric ^ scale);
BEGIN
    IF amount IS NULL THEN
        PERFORM meter.refuse(field, 'VAL_' || upper(field) || '_NULL', 'is required');
    ELSIF amount IN ('NaN', 'Infinity', '-Infinity') THEN
        PERFORM meter.refuse(field, 'VAL_NOT_FINITE', 'must be a finite number');
    ELSIF scale(trim_scale(amount)) > scale THEN
        PERFORM meter.refuse(field, 'VAL_TOO_PRECISE', CASE scale WHEN 0 THEN 'must be a whole number in this unit'
            ELSE format('must be a number with at most %s decimal places in this unit', scale) END);
    ELSIF abs(amount) > most THEN
        PERFORM meter.refuse(field, 'VAL_OUT_OF_RANGE', format('must be between -%s and %s', most, most));
    ELSIF sign = 'positive' AND amount <= 0 THEN
        PERFORM meter.refuse(field, 'VAL_NOT_POSITIVE', 'must be more than zero');
    ELSIF sign = 'not_negative' AND amount < 0 THEN
        PERFORM meter.refuse(field, 'VAL_AMOUNT_NEGATIVE', 'must not be negative');
    ELSIF sign = 'not_zero' AND amount = 0 THEN
        PERFORM meter.refuse(field, 'VAL_ADJUSTMENT_ZERO', 'must not be zero');
    END IF;
END
$$;

CREATE FUNCTION meter.check_moment(field text, moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF moment IS NULL THEN
        PERFORM meter.refuse(field, 'VAL_' || upper(field) || '_NULL', 'is required');
    ELSIF moment < '1970-01-01 00:00:00+00' OR moment >= '10000-01-01 00:00:00+00' THEN
        PERFORM meter.refuse(field, 'VAL_' || upper(field) || '_OUT_OF_RANGE', 'must be between the years 1970 and 9999');
    END IF;
END
$$;

CREATE FUNCTION meter.check_day(field text, day date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF day IS NULL THEN
        PERFORM meter.refuse(field, 'VAL_' || upper(field) || '_NULL', 'is required');
    ELSIF day < '1970-01-01' OR day >= '10000-01-01' THEN
        PERFORM meter.refuse(field, 'VAL_' || upper(field) || '_OUT_OF_RANGE', 'must be between the years 1970 and 9999');
    END IF;
END
$$;

CREATE FUNCTION meter.check_words(idempotency_key text, metadata jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF idempotency_key IS NOT NULL THEN
        PERFORM meter.check_name('idempotency_key', idempotency_key, NULL, 512);
    END IF;
    IF jsonb_typeof(metadata) <> 'object' THEN
        PERFORM meter.refuse('metadata', 'VAL_METADATA_INVALID_TYPE', 'must be an object');
    ELSIF octet_length(metadata::text) > 16384 THEN
        PERFORM meter.refuse('metadata', 'VAL_METADATA_TOO_LONG', 'must be at most 16384 bytes');
    END IF;
END
$$;

-- The namespace of a call: the one it names, or that of the transaction (meter.set_tenant), or `default`.
CREATE FUNCTION meter.namespace_of(named text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := coalesce(named, nullif(current_setting('meter.tenant', true), ''), 'default');
BEGIN
    PERFORM meter.check_name('namespace', namespace, 1024, NULL);
    RETURN namespace;
END
$$;

-- Third, the inbox itself. One row per shard: whoever has it locked carries out the shard's operations, in order.
-- The rest of the row counts what has become of them.
CREATE TABLE meter.inboxes (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 127),
    done bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO meter.inboxes (shard) SELECT generate_series(0, 127);

-- key: the idempotency key under which it is carried out, the caller's or one of its own. number: the order in
-- which operations were recorded. full_namespace: in full, where the tables have only its key. status: done, or
-- refused by the meter (its answer says why), or failed for what it asked (its answer is the problem). The answer
-- is written when the ledger has what was done, so that whoever reads it finds that there, too.
CREATE TABLE meter.operations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    number bigint GENERATED ALWAYS AS IDENTITY,
    namespace text COLLATE "C" NOT NULL,
    full_namespace text,
    shard smallint NOT NULL GENERATED ALWAYS AS (meter.shard_of(namespace)) STORED,
    verb text COLLATE "C" NOT NULL CHECK (verb IN (
        'allocate', 'consume', 'adjust', 'reserve', 'commit', 'release',
        'set_period_config', 'open_period', 'close_period', 'release_expired_reservations'
    )),
    arguments jsonb NOT NULL,
    actor jsonb NOT NULL DEFAULT '{}',
    key text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text COLLATE "C" NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'done', 'refused', 'failed')),
    answer jsonb,
    error_code text,
    answered_at timestamptz
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX operations_pending ON meter.operations (shard, number) WHERE status = 'pending';
CREATE INDEX operations_by_answer ON meter.operations (answered_at) WHERE status <> 'pending';

-- Says who acts until the end of the transaction; it goes with every entry and hold.
CREATE FUNCTION meter.set_actor(
    p_actor_id text, p_request_id text DEFAULT NULL, p_on_behalf_of text DEFAULT NULL, p_reason text DEFAULT NULL
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM meter.check_name('actor_id', p_actor_id, NULL, 512);
    PERFORM meter.check_name(field, btrim(value, ' '), NULL, 512)
    FROM (VALUES ('request_id', p_request_id), ('on_behalf_of', p_on_behalf_of), ('reason', p_reason))
        AS part (field, value)
    WHERE value IS NOT NULL;
    PERFORM set_config('meter.actor_id', p_actor_id, true),
            set_config('meter.request_id', coalesce(p_request_id, ''), true),
            set_config('meter.on_behalf_of', coalesce(p_on_behalf_of, ''), true),
            set_config('meter.reason', coalesce(p_reason, ''), true);
END
$$;

CREATE FUNCTION meter.clear_actor() RETURNS void LANGUAGE sql SET search_path = pg_catalog AS $$
    SELECT set_config('meter.actor_id', '', true), set_config('meter.request_id', '', true),
           set_config('meter.on_behalf_of', '', true), set_config('meter.reason', '', true)
$$;

-- Records an operation. What is sent with the commit wakes the workers.
CREATE FUNCTION meter.record_operation(of_namespace text, verb text, arguments jsonb, key text) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    id CONSTANT uuid := gen_random_uuid();
    stored CONSTANT text := meter.namespace_key(of_namespace);
BEGIN
    INSERT INTO meter.operations (id, namespace, full_namespace, verb, arguments, actor, key)
    VALUES (
        id, stored, nullif(of_namespace, stored), verb, arguments,
        jsonb_build_object(
            'actor_id', nullif(current_setting('meter.actor_id', true), ''),
            'request_id', nullif(current_setting('meter.request_id', true), ''),
            'on_behalf_of', nullif(current_setting('meter.on_behalf_of', true), ''),
            'reason', nullif(current_setting('meter.reason', true), '')
        ),
        coalesce(key, 'sql:' || id)
    );
    PERFORM pg_notify('quotagate_operations', '');
    RETURN id;
END
$$;

-- What has become of an operation: nothing for one that is unknown, or was forgotten long after its answer.
CREATE FUNCTION meter.operation(p_id uuid)
RETURNS TABLE (
    id uuid, namespace text, verb text, status text, answer jsonb, error_code text,
    recorded_at timestamptz, answered_at timestamptz
) LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT found.id, coalesce(found.full_namespace, found.namespace), found.verb, found.status, found.answer,
           found.error_code, found.recorded_at, found.answered_at
    FROM meter.operations AS found
    WHERE found.id = p_id
$$;

-- Last, the verbs, with the arguments of the meter's methods of the same names. Each gives its operation's id.
CREATE FUNCTION meter.allocate(
    p_user_id text, p_event_type text, p_amount numeric, p_unit text, p_resource text DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL, p_event_time timestamptz DEFAULT now(), p_metadata jsonb DEFAULT NULL,
    p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit);
    PERFORM meter.check_amount('amount', p_amount, meter.scale_of(p_unit), 'positive');
    PERFORM meter.check_account(p_user_id, p_resource);
    PERFORM meter.check_words(p_idempotency_key, p_metadata);
    PERFORM meter.check_moment('event_time', p_event_time);
    RETURN meter.record_operation(namespace, 'allocate', jsonb_build_object(
        'user_id', p_user_id, 'event_type', p_event_type, 'amount', p_amount, 'unit', p_unit,
        'resource', p_resource, 'event_time', p_event_time, 'metadata', p_metadata
    ), p_idempotency_key);
END
$$;

CREATE FUNCTION meter.consume(
    p_user_id text, p_event_type text, p_amount numeric, p_unit text, p_resource text DEFAULT NULL,
    p_check_balance boolean DEFAULT false, p_idempotency_key text DEFAULT NULL,
    p_event_time timestamptz DEFAULT now(), p_metadata jsonb DEFAULT NULL, p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit);
    PERFORM meter.check_amount('amount', p_amount, meter.scale_of(p_unit), 'positive');
    PERFORM meter.check_account(p_user_id, p_resource);
    PERFORM meter.check_words(p_idempotency_key, p_metadata);
    PERFORM meter.check_moment('event_time', p_event_time);
    RETURN meter.record_operation(namespace, 'consume', jsonb_build_object(
        'user_id', p_user_id, 'event_type', p_event_type, 'amount', p_amount, 'unit', p_unit,
        'resource', p_resource, 'check_balance', coalesce(p_check_balance, false), 'event_time', p_event_time,
        'metadata', p_metadata
    ), p_idempotency_key);
END
$$;

CREATE FUNCTION meter.adjust(
    p_user_id text, p_event_type text, p_amount numeric, p_unit text, p_resource text DEFAULT NULL,
    p_reference_id bigint DEFAULT NULL, p_idempotency_key text DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit);
    PERFORM meter.check_amount('amount', p_amount, meter.scale_of(p_unit), 'not_zero');
    PERFORM meter.check_account(p_user_id, p_resource);
    IF p_reference_id NOT BETWEEN 1 AND 9007199254740991 THEN
        PERFORM meter.refuse('reference_id', 'VAL_REFERENCE_ID_INVALID', 'must be the id of a ledger entry');
    END IF;
    PERFORM meter.check_words(p_idempotency_key, p_metadata);
    RETURN meter.record_operation(namespace, 'adjust', jsonb_build_object(
        'user_id', p_user_id, 'event_type', p_event_type, 'amount', p_amount, 'unit', p_unit,
        'resource', p_resource, 'reference_id', p_reference_id, 'metadata', p_metadata
    ), p_idempotency_key);
END
$$;

CREATE FUNCTION meter.reserve(
    p_user_id text, p_event_type text, p_amount numeric, p_unit text, p_resource text DEFAULT NULL,
    p_ttl_seconds integer DEFAULT 300, p_idempotency_key text DEFAULT NULL, p_metadata jsonb DEFAULT NULL,
    p_namespace text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    namespace CONSTANT text := meter.namespace_of(p_namespace);
BEGIN
    PERFORM meter.check_kind(p_event_type, p_unit);
    PERFORM meter.check_amount('amount', p_amount, meter.scale_of(p_unit), 'positive');
    PERFORM meter.check_account(p_user_id, p_resource);
    IF p_ttl_seconds IS NULL OR p_ttl_seconds NOT BETWEEN 1 AND 86400 THEN
        PERFORM meter.refuse('ttl_seconds', 'VAL_TTL_OUT_OF_RANGE', 'must be between 1 and 86400');
    END IF;
    PERFORM meter.check_words(p_idempotency_key, p_metadata);
    RETURN meter.record_operation(namespace, 'reserve', jsonb_build_object(
        'user_id', p_user_id, 'event_type', p_event_type, 'amount', p_amount, 'unit', p_unit,
        'resource', p_resource, 'ttl_seconds', p_ttl_seconds, 'metadata', p_metadata
    ), p_idempotency_key);
END
$$;
