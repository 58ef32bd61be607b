"""A real Postgres of every version on this machine, and a fresh, migrated database for each test."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from scribe import Ask, renew

from gateway.servers import postgres_providers, start_postgres
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.migrations import migrate
from persistence.queries import Queries

_numbers = count()

# Dropping a month is the one way to be rid of entries, and what retention does.
_EMPTY = """
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'meter.ledger'::regclass LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
    PERFORM set_config('session_replication_role', 'replica', true); -- no trigger keeps what a test left
    TRUNCATE meter.accounts, meter.open_holds, meter.settled_holds, meter.usage_hourly,
             meter.audits, meter.audit_findings, meter.long_names, meter.quarantine,
             meter.first_answers, meter.duplicates, meter.hold_extensions, meter.periods, meter.period_days,
             meter.checkpoints, meter.repairs, meter.reconciliations, meter.reconcile_turn,
             meter.api_keys, meter.audit_events, meter.dropped_months, meter.dropped_holds,
             meter.operations,
             meter.gateways, meter.answers, meter.salvaged, meter.epochs, meter.losses;
    UPDATE meter.shards
    SET epoch = 0, seq = -1, state = 'open', closed_at = NULL, run_id = '', fence = 0, reason = NULL,
        stopped_at = NULL, stop_reason = NULL, opened_at = now();
    UPDATE meter.inboxes SET done = 0, refused = 0, failed = 0;
END
$$
"""


@pytest.fixture(scope="session", params=postgres_providers(), ids=lambda found: found.name.replace(" ", "-"))
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a Postgres for the session, one of each version after the other."""
    with tempfile.TemporaryDirectory(prefix="qg-test-") as directory:
        server = start_postgres(request.param, Path(directory) / "pg", fsync=False)
        try:
            yield server.url
        finally:
            server.stop()


@pytest.fixture(scope="session")
async def migrated_url(postgres_url: str) -> str:
    """Make the database that tests share, one after the other."""
    url = await _created(postgres_url, "migrated")
    await migrate(url)
    return url


@pytest.fixture
async def database_url(migrated_url: str) -> str:
    """Give a migrated database with nothing in it."""
    await _run(migrated_url, sql.SQL(_EMPTY))
    return migrated_url


@pytest.fixture
async def empty_url(postgres_url: str) -> str:
    """Give a database that was never migrated."""
    return await _created(postgres_url, f"empty_{next(_numbers)}")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Give a pool on the test's database."""
    opened = Database(database_url, max_size=4)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    """Give the ledger of a database whose shards are all in epoch 1, with nothing posted."""
    made = Ledger(database)
    await renew(made, range(128))
    return made


@pytest.fixture
def queries(database: Database) -> Queries:
    return Queries(database)


@pytest.fixture
async def ask(database_url: str) -> AsyncIterator[Ask]:
    """Give a function that runs one statement and gives its rows."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:

        async def run(statement: str, *values: object) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(statement.encode(), values or None)
            return await cursor.fetchall() if cursor.description else []

        yield run


async def _created(server_url: str, name: str) -> str:
    await _run(server_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return psycopg.conninfo.make_conninfo(server_url, dbname=name)


async def _run(url: str, statement: sql.Composable) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement)
