-- Holds, one row per leg. Open ones live in a small table that is written twice and read often; settling
-- moves a hold to a table that only grows. Amounts are integers of 10^-scale of the account's unit.
CREATE TABLE meter.open_holds (
    namespace text COLLATE "C" NOT NULL,
    hold_id text COLLATE "C" NOT NULL,
    leg smallint NOT NULL,
    account text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    amount bigint NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    body json,
    PRIMARY KEY (namespace, hold_id, leg)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX open_holds_by_account ON meter.open_holds (namespace, account);
CREATE INDEX open_holds_by_time ON meter.open_holds (namespace, created_at) WHERE leg = 0;

CREATE TABLE meter.settled_holds (
    namespace text COLLATE "C" NOT NULL,
    hold_id text COLLATE "C" NOT NULL,
    leg smallint NOT NULL,
    account text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    status text COLLATE "C" NOT NULL CHECK (status IN ('committed', 'released', 'expired')),
    amount bigint NOT NULL,
    consumed bigint,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    settled_at timestamptz NOT NULL,
    late boolean NOT NULL,
    body json,
    settled_body json,
    PRIMARY KEY (namespace, hold_id, leg)
);

CREATE INDEX settled_holds_by_status ON meter.settled_holds (namespace, status, created_at) WHERE leg = 0;
CREATE INDEX settled_holds_by_user
    ON meter.settled_holds (namespace, user_id, status, created_at) WHERE leg = 0;

CREATE VIEW meter.holds AS
    SELECT namespace, hold_id, leg, account, user_id, 'active'::text COLLATE "C" AS status, amount,
           NULL::bigint AS consumed, created_at, expires_at, NULL::timestamptz AS settled_at,
           false AS late, body, NULL::json AS settled_body
    FROM meter.open_holds
    UNION ALL
    SELECT namespace, hold_id, leg, account, user_id, status, amount,
           consumed, created_at, expires_at, settled_at,
           late, body, settled_body
    FROM meter.settled_holds;
