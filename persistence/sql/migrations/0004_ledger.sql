-- The ledger: append-only, partitioned by month of recording (UTC). Amounts are exact decimals of the unit.
-- entry_id carries epoch, sequence and leg, so it also orders the lines as the journal did. It is unique in
-- its namespace; each partition has that as its key, without created_at, so that an entry told again with
-- another time is found as well.
CREATE TABLE meter.ledger (
    namespace text COLLATE "C" NOT NULL,
    entry_id bigint NOT NULL,
    created_at timestamptz NOT NULL,
    event_time timestamptz NOT NULL,
    entry_type text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    event_type text NOT NULL,
    unit text NOT NULL,
    resource text,
    amount numeric NOT NULL,
    balance_after numeric NOT NULL,
    reservation_id text COLLATE "C",
    reference_id bigint,
    actor_id text,
    request_id text,
    on_behalf_of text,
    reason text,
    metadata json
) PARTITION BY RANGE (created_at);

CREATE INDEX ledger_by_account ON meter.ledger (namespace, account, entry_id) INCLUDE (amount);

CREATE FUNCTION meter.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'Book a correction with an adjustment.';
END
$$;

-- Row triggers are cloned to every partition; a TRUNCATE trigger is not, so each partition gets its own.
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON meter.ledger
    FOR EACH ROW EXECUTE FUNCTION meter.refuse_change();
CREATE TRIGGER ledger_keep BEFORE TRUNCATE ON meter.ledger
    FOR EACH STATEMENT EXECUTE FUNCTION meter.refuse_change();

-- Makes the partition for the month of `day`, unless it is there. Any number of processes may call it at
-- once; neither readers nor writers of the ledger wait for it.
CREATE FUNCTION meter.create_ledger_partition(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := day - (extract(day FROM day)::integer - 1);
    next_first date := (first + interval '1 month')::date;
    partition text := 'ledger_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('meter.create_ledger_partition', 0));
    IF to_regclass('meter.' || partition) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE TABLE meter.%I (LIKE meter.ledger INCLUDING ALL, PRIMARY KEY (namespace, entry_id))', partition
    );
    EXECUTE format(
        'ALTER TABLE meter.ledger ATTACH PARTITION meter.%I FOR VALUES FROM (%L) TO (%L)',
        partition,
        to_char(first, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(next_first, 'YYYY-MM-DD') || ' 00:00:00+00'
    );
    EXECUTE format(
        'CREATE TRIGGER ledger_keep BEFORE TRUNCATE ON meter.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION meter.refuse_change()',
        partition
    );
END
$$;
