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
