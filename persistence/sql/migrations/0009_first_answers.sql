-- The second tier of idempotency. The first answer of each key is kept here long after Redis has forgotten
-- it; answer is what the script gave, for the store to read again. A key belongs to the first call that is
-- posted with it. recorded_at, the time of the posting transaction, is one value for a whole batch, which
-- keeps its index as small as a BRIN without going blunt when the pages of pruned rows are used again.
CREATE TABLE meter.first_answers (
    namespace text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    answer text COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX first_answers_by_time ON meter.first_answers (recorded_at);

-- Calls that came again after Redis had forgotten their key, and were done again. Those with the first
-- call's fingerprint are duplicates: pending until the entry that undoes them is posted, undone from then
-- on. Those with another one were other operations under a used key: they are kept.
CREATE TABLE meter.duplicates (
    namespace text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    first_epoch integer NOT NULL,
    first_seq bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    answer text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'undone', 'kept')),
    found_at timestamptz NOT NULL DEFAULT now(),
    undone_epoch integer,
    undone_seq bigint,
    undone_at timestamptz,
    PRIMARY KEY (namespace, epoch, seq)
);

CREATE INDEX duplicates_by_state ON meter.duplicates (state, found_at);

-- Since when the shard's epoch is the one it is: until its window is over, keys of older epochs are asked for.
ALTER TABLE meter.shards ADD COLUMN opened_at timestamptz NOT NULL DEFAULT now();
