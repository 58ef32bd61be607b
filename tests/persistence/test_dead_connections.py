"""Connections of the pool that died while nobody used them: whoever asks next is given one that lives."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from scribe import ALICE, Ask, Scribe, post, renew

from gateway.errors import MeterUnavailableError
from persistence import ledger as posting
from persistence.database import Connection, Database
from persistence.ledger import Ledger

WIDTH = 4


async def use(database: Database, together: asyncio.Barrier) -> None:
    async with database.connection() as connection, asyncio.timeout(30):
        await together.wait()
        await connection.execute("SELECT 1")


async def test_a_server_that_restarted_is_found_again_by_the_first_who_asks(
    migrated_url: str, ask: Ask
) -> None:
    database = Database(migrated_url, application_name="to be cut off")
    await database.open()
    try:
        together = asyncio.Barrier(WIDTH)
        await asyncio.gather(*(use(database, together) for _ in range(WIDTH)))
        killed = await ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'to be cut off'"
        )
        assert len(killed) >= WIDTH
        async with database.connection() as connection:
            await connection.execute("SELECT 1")
    finally:
        await database.close()


async def test_a_posting_that_stood_still_for_longer_than_the_server_allows_is_made_again(
    migrated_url: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(make_conninfo(migrated_url, options="-c idle_in_transaction_session_timeout=50ms"))
    await database.open()
    keep_names = posting.keep_names

    async def stand_still(connection: Connection, names: object) -> None:
        async with asyncio.timeout(30):
            while await ask("SELECT 1 FROM pg_stat_activity WHERE pid = %s", connection.info.backend_pid):  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0.01)
        await keep_names(connection, {("acme", "key"): "name"})

    try:
        ledger, scribe = Ledger(database), Scribe()
        await renew(ledger, [scribe.shard])
        scribe.allocate(ALICE, 5)
        with monkeypatch.context() as patch:
            patch.setattr(posting, "keep_names", stand_still)
            with pytest.raises(MeterUnavailableError, match="idle-in-transaction"):
                await post(ledger, scribe)
        await post(ledger, scribe)
    finally:
        await database.close()
    assert await ask("SELECT sum(amount)::int FROM meter.ledger") == [(5,)]


async def test_a_connection_that_was_made_while_nothing_could_be_written_does_not_stay_that_way(
    migrated_url: str,
) -> None:
    name = sql.Identifier(conninfo_to_dict(migrated_url)["dbname"])
    writable = make_conninfo(migrated_url, options="-c default_transaction_read_only=off")
    database = Database(migrated_url, max_size=1)
    async with await AsyncConnection.connect(writable, autocommit=True) as operator:
        await operator.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name)
        )
        await database.open()
        try:
            ledger, scribe = Ledger(database), Scribe()
            with pytest.raises(MeterUnavailableError, match="read-only transaction"):
                await renew(ledger, [scribe.shard])
            await operator.execute(
                sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name)
            )
            with suppress(MeterUnavailableError):  # the next connection may have been made before that
                await renew(ledger, [scribe.shard])
            await renew(ledger, [scribe.shard])
        finally:
            await database.close()
            await operator.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(name))
