-- The row-lock version of reserve and commit: one row per account, which every change locks.
DROP SCHEMA IF EXISTS peer CASCADE;
CREATE SCHEMA peer;
CREATE TABLE peer.accounts (
    account text PRIMARY KEY,
    balance bigint NOT NULL,
    reserved bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE peer.holds (
    hold uuid PRIMARY KEY,
    account text NOT NULL,
    amount bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE TABLE peer.ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    hold uuid NOT NULL,
    amount bigint NOT NULL,
    balance_after bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
