-- What history needs beside the ledger: how holds grew, and ways to find what was true at a moment.
-- One row per leg and extension. added is an integer of 10^-scale of the unit, 0 where only time was added.
CREATE TABLE meter.hold_extensions (
    namespace text COLLATE "C" NOT NULL,
    entry_id bigint NOT NULL,
    hold_id text COLLATE "C" NOT NULL,
    leg smallint NOT NULL,
    account text COLLATE "C" NOT NULL,
    extended_at timestamptz NOT NULL,
    added bigint NOT NULL,
    PRIMARY KEY (namespace, entry_id)
);

CREATE INDEX hold_extensions_by_hold ON meter.hold_extensions (namespace, hold_id, leg, extended_at);
CREATE INDEX hold_extensions_by_account ON meter.hold_extensions (namespace, account, extended_at);

-- First legs are found by their user, through the index of the lists; this one costs a hold of one leg nothing.
CREATE INDEX settled_holds_other_legs ON meter.settled_holds (namespace, account, created_at) WHERE leg > 0;

-- For whoever looks for open holds whose time is over.
CREATE INDEX open_holds_by_expiry ON meter.open_holds (expires_at, namespace, hold_id) WHERE leg = 0;

-- The balance an account had at a moment, in its unit: balance_after of its last entry recorded up to then, or
-- nothing before its first. Ids are ordered as the journal is and times of recording never go back inside an
-- epoch, so the entry is found by halving the range of ids, which needs no index beside that of the ledger's pages.
CREATE FUNCTION meter.balance_at(of_namespace text, of_account text, moment timestamptz) RETURNS numeric
LANGUAGE plpgsql STABLE AS $$
DECLARE
    low bigint := -1;               -- what has an id up to here was recorded at the moment or before
    high bigint := (1::bigint << 53); -- what has an id beyond was recorded after it
    probe bigint := high;
    line record;
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
            balance := line.balance_after;
        ELSE
            high := line.entry_id - 1;
        END IF;
        probe := low + (high - low + 1) / 2;
    END LOOP;
    RETURN balance;
END
$$;
