"""The migration runner on real databases: order, concurrency, and refusing what was changed."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from gateway.errors import MeterUnavailableError
from persistence.errors import MigrationError
from persistence.migrations import migrate, read_migrations
from persistence.statements import migration_files

FIRST = ("0001_first.sql", b"CREATE TABLE meter.first (n int);")
SECOND = ("0002_second.sql", b"CREATE TABLE meter.second (n int); INSERT INTO meter.first VALUES (2);")


async def tables(url: str) -> set[str]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'meter'")
        return {name for (name,) in await cursor.fetchall()}


async def test_every_file_is_applied_once_and_in_order(empty_url: str) -> None:
    expected = [migration.name for migration in read_migrations(migration_files())]
    assert len(expected) >= 6
    assert await migrate(empty_url) == expected
    assert await migrate(empty_url) == []
    assert {"shards", "accounts", "open_holds", "settled_holds", "ledger"} <= await tables(empty_url)


async def test_what_was_applied_is_one_line_of_the_log(empty_url: str) -> None:
    with capture_logs() as said:
        await migrate(empty_url, [FIRST, SECOND])
        await migrate(empty_url, [FIRST, SECOND])
    lines = [line for line in said if line["log_level"] != "debug"]
    assert lines == [{"event": "schema_migrated", "log_level": "info", "migrations": 2, "last": SECOND[0]}]


async def test_many_processes_may_start_at_once(empty_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_url) for _ in range(6)))
    names = [name for names in applied for name in names]
    assert sorted(names) == [migration.name for migration in read_migrations(migration_files())]


@pytest.mark.parametrize(
    "surroundings",
    ["statement_timeout=100ms", "default_transaction_isolation=serializable", "array_nulls=off"],
)
async def test_the_surroundings_decide_neither_how_long_it_takes_nor_what_it_means(
    empty_url: str, surroundings: str
) -> None:
    slow = b"SELECT pg_sleep(0.2); CREATE TABLE meter.first AS SELECT '{NULL}'::text[] AS names;"
    url = make_conninfo(empty_url, options=f"-c {surroundings}")
    assert await migrate(url, [("0001_first.sql", slow)]) == ["0001_first.sql"]
    async with await psycopg.AsyncConnection.connect(empty_url) as connection:
        cursor = await connection.execute("SELECT names FROM meter.first")
        assert await cursor.fetchall() == [([None],)]


async def test_a_later_program_applies_only_what_is_new(empty_url: str) -> None:
    assert await migrate(empty_url, [FIRST]) == [FIRST[0]]
    assert await migrate(empty_url, [SECOND, FIRST]) == [SECOND[0]]
    assert await tables(empty_url) == {"migrations", "first", "second"}


async def test_a_changed_file_is_refused_by_name(empty_url: str) -> None:
    await migrate(empty_url, [FIRST])
    changed = (FIRST[0], FIRST[1] + b" ")
    with pytest.raises(MigrationError, match=r"0001_first\.sql was changed"):
        await migrate(empty_url, [changed, SECOND])
    assert await tables(empty_url) == {"migrations", "first"}


async def test_a_missing_file_is_refused_by_name(empty_url: str) -> None:
    await migrate(empty_url, [FIRST, SECOND])
    with pytest.raises(MigrationError, match=r"0002_second\.sql was applied .* does not carry it"):
        await migrate(empty_url, [FIRST])


async def test_a_failing_file_leaves_nothing_of_itself_and_keeps_those_before(empty_url: str) -> None:
    failing = ("0002_second.sql", b"CREATE TABLE meter.second (n int); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(empty_url, [FIRST, failing])
    assert await tables(empty_url) == {"migrations", "first"}
    assert await migrate(empty_url, [FIRST, SECOND]) == [SECOND[0]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([SECOND], "the next number is 0001"),
        ([FIRST, ("0001_again.sql", b"")], "the next number is 0002"),
        ([("first.sql", b"")], "NNNN_words.sql"),
    ],
)
def test_misnumbered_files_are_refused(files: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(MigrationError, match=message):
        read_migrations(files)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_cannot_hold_every_name_is_refused(postgres_url: str, encoding: str) -> None:
    name = f"of_{encoding.lower()}"
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0".encode()
        )
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    with pytest.raises(MigrationError, match=f"encoding is {encoding}"):
        await migrate(url)
    assert await tables(url) == set()


async def test_a_database_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(MeterUnavailableError) as raised:
        await migrate("host=/nonexistent dbname=none")
    assert raised.value.code == "store_unavailable"
