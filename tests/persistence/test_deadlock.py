"""A posting that Postgres ends because of a deadlock is made again, whole."""

from __future__ import annotations

import asyncio

import psycopg
from scribe import ALICE, Ask, FakeJournal, Scribe

from persistence.flusher import Flusher
from persistence.ledger import Ledger

BOUND_S = 30.0

_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
    "AND application_name = 'quotagate' AND datname = current_database()"
)
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def until_more(ask: Ask, statement: str, than: int) -> None:
    async with asyncio.timeout(BOUND_S):
        while (await ask(statement))[0][0] <= than:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.02)


async def test_a_deadlock_drops_nothing(ledger: Ledger, ask: Ask, database_url: str) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    await ledger.post({scribe.shard: scribe.entries})
    posted = len(scribe.entries)
    for _ in range(20):
        scribe.allocate(ALICE, 1)
    journal = FakeJournal(scribe)
    ((before,),) = await ask(_DEADLOCKS)

    stop = asyncio.Event()
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SET deadlock_timeout = '60s'")  # so that the posting is the one that is ended
        await other.execute("SELECT 1 FROM meter.accounts FOR UPDATE")
        flusher = asyncio.create_task(Flusher(journal, ledger, interval_ms=5, block_ms=20).run(stop))
        await until_more(ask, _WAITING, 0)
        await other.execute("SELECT 1 FROM meter.shards WHERE shard = %s FOR UPDATE", (scribe.shard,))
        await until_more(ask, _DEADLOCKS, before)

    async with asyncio.timeout(BOUND_S):
        while scribe.entries:  # noqa: ASYNC110 - the flusher lets go of what is posted
            await asyncio.sleep(0.02)
    stop.set()
    await flusher
    ((lines, total),) = await ask("SELECT count(*), sum(amount) FROM meter.ledger")
    assert (lines, total) == (posted + 20, 120)
    assert await ask("SELECT balance FROM meter.accounts") == [(120,)]
