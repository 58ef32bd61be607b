-- What the keys of long names stand for. A row of an index has room for 2704 bytes, so the other tables hold
-- names as they are only up to 800 bytes for a namespace, and up to 400 characters when percent-encoded for
-- a user, event type, unit or resource. In place of a longer one stands its key: its first bytes, U+0001 and
-- its SHA-256, and for a namespace also @ and its shard. To read the whole name, join with, for instance,
--     LEFT JOIN meter.long_names AS long ON long.namespace = line.namespace AND long.key = line.user_id
-- Rows are never changed. They belong to a namespace, so that no two shards ever wait for each other's.
CREATE TABLE meter.long_names (
    namespace text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (namespace, key)
);
