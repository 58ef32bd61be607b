-- What the fence needs to know that survives a Redis without memory, and the processes beside it.

-- Which ledger this is: every Redis that is opened carries it, so that no Redis of another is ever taken over.
CREATE TABLE meter.identity (
    alone boolean PRIMARY KEY DEFAULT true CHECK (alone),
    ledger_id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO meter.identity DEFAULT VALUES;

-- run_id: the run of the Redis server on which the shard was last opened. fence: grows with every closing, so
-- that nobody posts what he read before it. reason: why a shard stays closed.
ALTER TABLE meter.shards
    ADD COLUMN run_id text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN fence bigint NOT NULL DEFAULT 0,
    ADD COLUMN reason text;

-- One row per process that acknowledges. A row whose lease ran out is nobody the fence waits for.
CREATE TABLE meter.gateways (
    gateway_id uuid PRIMARY KEY,
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What each gateway last answered for a shard: to which closing (fence), and the last sequence of the epoch
-- that it has acknowledged (-1: none).
CREATE TABLE meter.answers (
    shard smallint NOT NULL,
    gateway_id uuid NOT NULL,
    fence bigint NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (shard, gateway_id)
) WITH (fillfactor = 50);

-- Entries that gateways acknowledged and the ledger did not have yet, as the script and the caller worded them.
-- A booked row stays: it is why the same entry, offered again, is not booked again.
CREATE TABLE meter.salvaged (
    shard smallint NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    head text NOT NULL,
    body bytea NOT NULL,
    key text NOT NULL,
    offered_at timestamptz NOT NULL DEFAULT now(),
    booked_at timestamptz,
    booked_epoch integer,
    booked_seq bigint,
    PRIMARY KEY (shard, epoch, seq)
);
CREATE INDEX salvaged_waiting ON meter.salvaged (shard, epoch) WHERE booked_at IS NULL;

-- Epochs that were left: last_seq is the last sequence booked in it. All up to it are booked, but for losses.
CREATE TABLE meter.epochs (
    shard smallint NOT NULL,
    epoch integer NOT NULL,
    last_seq bigint NOT NULL,
    left_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, epoch)
);

-- Sequences that existed and that neither a journal nor a gateway had any more. recovered counts those that
-- a gateway brought later.
CREATE TABLE meter.losses (
    shard smallint NOT NULL,
    epoch integer NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    recovered bigint NOT NULL DEFAULT 0,
    reason text NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, epoch, first_seq)
);
