-- What reports of usage, windows of event time, references and operators' actions are found by.
--
-- A line without a time of its own has event_time = created_at, and its place in the journal says when that was:
-- ids are ordered as the journal is, and times of recording never go back inside an epoch. So a window of time is
-- a range of ids, found once for the whole namespace, and only lines with a time of their own need an index by
-- it: for all others this index costs nothing at posting.
CREATE INDEX ledger_by_event_time ON meter.ledger (namespace, account, event_time) WHERE event_time <> created_at;

CREATE INDEX ledger_by_reference ON meter.ledger (namespace, reference_id) WHERE reference_id IS NOT NULL;

-- Who consumed in an hour. Its columns never change, so that adding to an hour stays a heap-only update.
CREATE INDEX usage_hourly_by_hour ON meter.usage_hourly (namespace, hour, account)
    WHERE entry_type = 'consumption';

CREATE INDEX open_holds_of_namespace_by_expiry ON meter.open_holds (namespace, expires_at) WHERE leg = 0;

CREATE INDEX reconciliations_that_repair ON meter.reconciliations (namespace, started_at) WHERE trust IS NOT NULL;
CREATE INDEX duplicates_undone ON meter.duplicates (namespace, undone_at) WHERE state = 'undone';
CREATE INDEX quarantine_resolved ON meter.quarantine (namespace, resolved_at) WHERE resolved_at IS NOT NULL;

-- The last id of a namespace in (low, high] that was recorded before a moment; low when there is none. The range
-- lies in one epoch. It is found by halving.
CREATE FUNCTION meter.last_recorded_before(of_namespace text, low bigint, high bigint, moment timestamptz)
RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    probe bigint := high;
    line record;
BEGIN
    WHILE low < high LOOP
        SELECT entry_id, created_at INTO line
        FROM meter.ledger
        WHERE namespace = of_namespace AND entry_id > low AND entry_id <= probe
        ORDER BY entry_id DESC
        LIMIT 1;
        IF line.entry_id IS NULL OR line.created_at < moment THEN
            low := probe;
        ELSE
            high := line.entry_id - 1;
        END IF;
        probe := low + (high - low + 1) / 2;
    END LOOP;
    RETURN low;
END
$$;

-- The ranges of ids, low exclusive and high inclusive and one for each epoch, in which everything lies that the
-- namespace had recorded from start on and before beyond. The clock of a new epoch may stand behind that of the
-- one before, so each epoch is looked through by itself.
CREATE FUNCTION meter.recorded_between(of_namespace text, start timestamptz, beyond timestamptz)
RETURNS TABLE (low bigint, high bigint) LANGUAGE plpgsql STABLE AS $$
DECLARE
    first record;
    last record;
    seen bigint := -1;
BEGIN
    LOOP
        SELECT entry_id, created_at INTO first
        FROM meter.ledger
        WHERE namespace = of_namespace AND entry_id > seen
        ORDER BY entry_id
        LIMIT 1;
        EXIT WHEN first.entry_id IS NULL;
        SELECT entry_id, created_at INTO last
        FROM meter.ledger
        WHERE namespace = of_namespace AND entry_id >= first.entry_id
          AND entry_id < ((first.entry_id >> 40) + 1) << 40
        ORDER BY entry_id DESC
        LIMIT 1;
        seen := last.entry_id;
        CONTINUE WHEN first.created_at >= beyond OR last.created_at < start;
        low := first.entry_id - 1;
        high := last.entry_id;
        IF first.created_at < start THEN
            low := meter.last_recorded_before(of_namespace, low, high, start);
        END IF;
        IF last.created_at >= beyond THEN
            high := meter.last_recorded_before(of_namespace, low, high, beyond);
        END IF;
        IF low < high THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
