-- API keys. digest is the HMAC-SHA256 of the whole key under a pepper that is not in this database, so nothing
-- here can be used to call. namespace is the full name, NULL for a key that may name any namespace. A rotated key
-- stays until it expires; replaced_by is the one that follows it. number orders pages.
CREATE TABLE meter.api_keys (
    key_id text COLLATE "C" PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    namespace text COLLATE "C",
    scopes text[] COLLATE "C" NOT NULL
        CHECK (scopes <> '{}' AND scopes <@ ARRAY['read', 'spend', 'allocate', 'admin']),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    replaced_by text COLLATE "C" REFERENCES meter.api_keys DEFERRABLE INITIALLY DEFERRED,
    CHECK (namespace IS NOT NULL OR 'admin' = ANY (scopes))
);

-- What operators did: one row per action, written in the transaction of what it tells of, or before that begins.
-- namespace is as in the other tables, NULL for an action on no namespace in particular.
CREATE TABLE meter.audit_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    namespace text COLLATE "C",
    actor_id text NOT NULL,
    action text COLLATE "C" NOT NULL,
    target text NOT NULL,
    reason text,
    details jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX audit_events_by_namespace ON meter.audit_events (namespace, id);
CREATE INDEX audit_events_by_time ON meter.audit_events (namespace, at);

CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE ON meter.audit_events
    FOR EACH ROW EXECUTE FUNCTION meter.refuse_change();
