-- The 128 slots of namespaces: each row is the lock, the epoch and the watermark of its shard.
-- seq is the last sequence posted in the epoch; -1 says that nothing of the epoch is posted yet.
CREATE TABLE meter.shards (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 127),
    epoch integer NOT NULL DEFAULT 0 CHECK (epoch BETWEEN 0 AND 8191),
    seq bigint NOT NULL DEFAULT -1 CHECK (seq BETWEEN -1 AND (1::bigint << 36) - 1),
    state text COLLATE "C" NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closing')),
    closed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

INSERT INTO meter.shards (shard) SELECT generate_series(0, 127);
