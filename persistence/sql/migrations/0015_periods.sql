-- What accounts have of periods, as the last posted entry left it; the words of gateway/domain/periods.py. Amounts
-- are integers of 10^-scale of the unit.
CREATE TABLE meter.periods (
    namespace text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    due_at timestamptz,
    closed_at timestamptz,
    over_limit bigint,
    opened date,
    ended date,
    running date,
    allocation bigint,
    carry_over_limit bigint,
    anchor date,
    every text COLLATE "C",
    time_zone text COLLATE "C",
    PRIMARY KEY (namespace, account)
);

-- For whoever looks for accounts whose period is over, and that nobody touches.
CREATE INDEX periods_by_due ON meter.periods (due_at, namespace, account) WHERE due_at IS NOT NULL;

-- The first answer of every opening and closing, for ever: kind is open or close.
CREATE TABLE meter.period_days (
    namespace text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    day date NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    expires_at timestamptz,
    amount bigint NOT NULL,
    over_limit bigint NOT NULL,
    balance bigint NOT NULL,
    reserved bigint NOT NULL,
    PRIMARY KEY (namespace, account, kind, day)
);

-- What a row says, in the order of those words.
CREATE FUNCTION meter.period_words(known meter.periods) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY[
        (extract(epoch FROM known.due_at) * 1000)::bigint::text,
        (extract(epoch FROM known.closed_at) * 1000)::bigint::text,
        known.over_limit::text, known.opened::text, known.ended::text, known.running::text,
        known.allocation::text, known.carry_over_limit::text, known.anchor::text,
        known.every, known.time_zone
    ]
$$;

-- The first day of the period that runs: the schedule's, or the one opened last if none was closed since.
CREATE FUNCTION meter.current_period(known meter.periods) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN known.running IS NOT NULL THEN known.running
                WHEN known.opened > coalesce(known.ended, '-infinity') THEN known.opened END
$$;
