"""A Postgres that stands still or restarts: nobody waits for it beyond the bound, and it is found again."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from freezing import frozen
from scribe import ALICE, BOB, FakeJournal, Scribe, renew
from structlog.testing import capture_logs

from gateway.errors import MeterUnavailableError
from gateway.servers import postgres_providers, start_postgres
from gateway.servers.postgres_server import PostgresServer
from persistence.database import Connection, Database
from persistence.flusher import Flusher
from persistence.ledger import Ledger
from persistence.migrations import migrate
from persistence.patience import Trouble
from persistence.queries import Queries

BOUND_S = 0.5
SLACK_S = 2.0  # a busy machine's
WAIT_S = 30.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    running = start_postgres(postgres_providers()[0], tmp_path / "postgres", fsync=False)
    yield running
    running.stop()


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    await migrate(server.url)
    opened = Database(server.url, timeout_s=BOUND_S, posting_timeout_s=1.0)
    await opened.open()
    yield opened
    await opened.close()


async def booked(server: PostgresServer) -> int:
    database = Database(server.url)
    await database.open()
    try:
        async with database.connection() as connection:
            cursor = await connection.execute("SELECT count(*) FROM meter.ledger")
            ((count,),) = await cursor.fetchall()
            return int(count)
    finally:
        await database.close()


@asynccontextmanager
async def within(bound_s: float) -> AsyncIterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < bound_s


async def freeze_in_use(server: PostgresServer, database: Database, *, patient: bool) -> None:
    async with database.connection(patient=patient) as connection:
        with frozen(server):
            await connection.execute("SELECT 1")


async def stand_still_in_use(server: PostgresServer, database: Database, statement: bytes) -> None:
    """Stand still ourselves from before a statement is answered until its answer is overdue; then go on."""
    async with database.connection() as connection:
        with frozen(server):
            asked = asyncio.create_task(connection.execute(statement))
            for _ in range(20):  # it comes as far as it can without an answer
                await asyncio.sleep(0)
        _stand_still(connection)
        await asked
        await connection.execute("SELECT 1")


def _stand_still(connection: Connection) -> None:
    overdue = time.monotonic() + BOUND_S
    assert select.select([connection], [], [], WAIT_S)[0], "nothing was answered"
    time.sleep(max(0.0, overdue - time.monotonic()))


async def test_a_frozen_server_is_given_up_within_the_bound(
    server: PostgresServer, database: Database
) -> None:
    queries = Queries(database)
    await queries.watermark(1)
    with frozen(server):
        for _ in range(3):
            async with within(BOUND_S + SLACK_S):
                with pytest.raises(MeterUnavailableError) as raised:
                    await queries.watermark(1)
            assert raised.value.code == "store_unavailable"
    assert (await queries.watermark(1))[0].seq == -1


async def test_a_server_that_freezes_in_the_middle_of_a_statement_is_given_up(
    server: PostgresServer, database: Database
) -> None:
    async with within(BOUND_S + SLACK_S):
        with pytest.raises(MeterUnavailableError, match=r"no answer within 0\.5 s"):
            await freeze_in_use(server, database, patient=False)


async def test_what_was_answered_while_we_stood_still_ourselves_is_an_answer(
    server: PostgresServer, database: Database
) -> None:
    await stand_still_in_use(server, database, b"SELECT 1")


async def test_the_rest_of_what_was_answered_while_we_stood_still_has_another_bound(
    server: PostgresServer, database: Database
) -> None:
    part = b"SELECT repeat('x', 100000) UNION ALL SELECT pg_sleep(60)::text"
    async with within(2 * BOUND_S + SLACK_S):
        with pytest.raises(MeterUnavailableError, match=r"no answer within 0\.5 s"):
            await stand_still_in_use(server, database, part)


async def test_a_posting_has_longer_and_a_bound_all_the_same(
    server: PostgresServer, database: Database
) -> None:
    async with database.connection(patient=True) as connection:
        await connection.execute("SELECT pg_sleep(0.7)")
    async with within(1.0 + SLACK_S):
        with pytest.raises(MeterUnavailableError, match="no answer within 1 s"):
            await freeze_in_use(server, database, patient=True)


async def test_a_server_that_freezes_and_restarts_under_a_flusher_books_everything_once(
    server: PostgresServer, database: Database
) -> None:
    ledger, scribe = Ledger(database), Scribe()
    await renew(ledger, [scribe.shard])
    journal = FakeJournal(scribe)
    told: list[Trouble] = []
    flusher = Flusher(journal, ledger, interval_ms=1, block_ms=20, batch_entries=50, tell=told.append)
    stop = asyncio.Event()
    with capture_logs() as logs:
        work = asyncio.create_task(flusher.run(stop))
        for trial in range(4):
            for _ in range(200):
                scribe.allocate(ALICE, 1)
                scribe.commit(scribe.reserve({BOB: 2}), 1)
            before = len(told)
            if trial % 2:
                await asyncio.to_thread(server.stop)
                await seen(told, before)
                await asyncio.to_thread(server.start)
            else:
                with frozen(server):
                    await seen(told, before)
        async with asyncio.timeout(WAIT_S):
            while scribe.entries:  # noqa: ASYNC110 - what is waited for sets no event
                await asyncio.sleep(0.01)
        stop.set()
        await work
    assert await booked(server) == 4 * 400
    assert flusher.stopped == {}
    assert told[-1].reason is None
    assert told[-1].attempts == len([trouble for trouble in told if trouble.reason])
    events = [log["event"] for log in logs]
    assert "flusher_goes_on" in events
    assert events.count("flusher_waits") <= told[-1].attempts


async def seen(told: list[Trouble], before: int) -> None:
    """Wait until the flusher has met the trouble that was made for it."""
    async with asyncio.timeout(WAIT_S):
        while not any(trouble.reason for trouble in told[before:]):  # noqa: ASYNC110 - sets no event
            await asyncio.sleep(0.01)
