CREATE SCHEMA IF NOT EXISTS meter;
CREATE TABLE IF NOT EXISTS meter.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
