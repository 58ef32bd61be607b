-- Accounts as the last posted entry left them. balance and reserved are integers of 10^-scale of the unit.
-- account is the text of user, event type, unit and resource (gateway/domain/names.py): it begins with the
-- user, and byte order ("C") makes all accounts of a user one range of the primary key.
CREATE TABLE meter.accounts (
    namespace text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    event_type text NOT NULL,
    unit text NOT NULL,
    resource text,
    scale smallint NOT NULL,
    balance bigint NOT NULL,
    reserved bigint NOT NULL,
    last_epoch integer NOT NULL,
    last_seq bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (namespace, account)
) WITH (fillfactor = 70);
