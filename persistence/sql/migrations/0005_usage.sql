-- What was booked per account, hour of event_time (UTC) and entry type. Kept in the posting transaction,
-- so it never differs from the ledger. total is signed, in the account's unit.
CREATE TABLE meter.usage_hourly (
    namespace text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    hour timestamptz NOT NULL,
    entry_type text COLLATE "C" NOT NULL,
    total numeric NOT NULL,
    event_count bigint NOT NULL,
    PRIMARY KEY (namespace, account, hour, entry_type)
) WITH (fillfactor = 70);
