"""The ledger's room: everything that speaks to Postgres. Redis and HTTP never appear here."""
