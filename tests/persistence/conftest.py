"""A real Postgres of every version on this machine, and a fresh, migrated database for each test."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from gateway.servers import postgres_providers, start_postgres
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.migrations import migrate
from persistence.queries import Queries

Ask = Callable[..., Awaitable[list[tuple[Any, ...]]]]

_TEMPLATE = "migrated"
_numbers = count()


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
    """Make the database that each test's own is a copy of."""
    await _create(postgres_url, _TEMPLATE)
    url = _url_of(postgres_url, _TEMPLATE)
    await migrate(url)
    return url


@pytest.fixture
async def empty_url(postgres_url: str) -> AsyncIterator[str]:
    """Give an empty database."""
    async for url in _lent(postgres_url, "template1"):
        yield url


@pytest.fixture
async def database_url(migrated_url: str) -> AsyncIterator[str]:
    """Give a migrated database with nothing in it."""
    async for url in _lent(migrated_url, _TEMPLATE):
        yield url


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
    await made.raise_epochs(range(128))
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


async def _lent(server_url: str, template: str) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await _create(server_url, name, template)
    yield _url_of(server_url, name)
    await _run(server_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def _create(server_url: str, name: str, template: str = "template1") -> None:
    names = sql.Identifier(name), sql.Identifier(template)
    await _run(server_url, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))


async def _run(server_url: str, statement: sql.Composed) -> None:
    url = _url_of(server_url, "postgres")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement)


def _url_of(server_url: str, name: str) -> str:
    return psycopg.conninfo.make_conninfo(server_url, dbname=name)
