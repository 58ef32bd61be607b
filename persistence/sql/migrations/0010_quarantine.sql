-- A shard that cannot be posted: since when, and why. The posting that goes on clears both.
ALTER TABLE meter.shards ADD COLUMN stopped_at timestamptz, ADD COLUMN stop_reason text;

-- Journal entries that could not be booked as they stand, as the journal told them. Each is written in the
-- transaction in which the watermark passes it. booked says what the ledger has of it all the same:
-- without_body has amounts and hold, without_hold the amounts, state the accounts' new state alone, and of
-- nothing, nothing is known. head and body are bytes, because no text may be too bad to be kept.
CREATE TABLE meter.quarantine (
    shard smallint NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    namespace text COLLATE "C",
    hold_id text COLLATE "C",
    head bytea NOT NULL,
    body bytea NOT NULL,
    booked text COLLATE "C" NOT NULL CHECK (booked IN ('without_body', 'without_hold', 'state', 'nothing')),
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    resolution text,
    PRIMARY KEY (shard, epoch, seq)
);

CREATE INDEX quarantine_unresolved ON meter.quarantine (recorded_at) WHERE resolved_at IS NULL;
