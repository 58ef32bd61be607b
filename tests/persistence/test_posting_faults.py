"""Faults of a real Postgres in the middle of a posting: all is booked once, and the flusher tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest
from scribe import ALICE, BOB, Ask, FakeJournal, Scribe

from persistence.flusher import Flusher
from persistence.ledger import Ledger
from persistence.patience import Trouble

WAIT_S = 30.0
TIMES = 300

SLOW = """
    CREATE FUNCTION meter.slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON meter.{table} FOR EACH ROW EXECUTE FUNCTION meter.slow()
"""
FULL = """
    CREATE FUNCTION meter.slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON meter.{table} FOR EACH ROW EXECUTE FUNCTION meter.slow()
"""
IN_COPY = """
    SELECT pid FROM pg_stat_progress_copy
    WHERE relid = 'meter.{table}'::regclass AND tuples_processed > 5 AND datname = current_database()
"""


class Flushing:
    """A flusher at work, and what it told."""

    def __init__(self, ledger: Ledger) -> None:
        self.scribe = Scribe()
        self.told: list[Trouble] = []
        journal = FakeJournal(self.scribe)
        self.flusher = Flusher(journal, ledger, interval_ms=1, block_ms=20, tell=self.told.append)

    def trade(self) -> None:
        for _ in range(TIMES):
            self.scribe.allocate(ALICE, 5)
            self.scribe.commit(self.scribe.reserve({ALICE: 5, BOB: 2}), 1)
            self.scribe.reserve({BOB: 1})

    def met(self, words: str) -> bool:
        return any(words in (trouble.reason or "") for trouble in self.told)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Flush during the block, and until everything is posted."""
        stop = asyncio.Event()
        work = asyncio.create_task(self.flusher.run(stop))
        yield
        await until(lambda: truth(not self.scribe.entries))
        stop.set()
        await work
        assert self.flusher.stopped == {}
        assert self.told[-1].reason is None


async def truth(value: object) -> bool:
    return bool(value)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


async def assert_booked_once(ask: Ask, scribe: Scribe) -> None:
    assert await ask("SELECT count(*) FROM meter.ledger") == [(3 * TIMES,)]
    assert await ask("SELECT count(*) FROM meter.open_holds") == [(TIMES,)]
    assert await ask("SELECT count(*) FROM meter.settled_holds") == [(2 * TIMES,)]
    rows = await ask("SELECT account, sum(amount)::int FROM meter.ledger GROUP BY account")
    assert dict(rows) == scribe.balances
    rows = await ask("SELECT account, balance, reserved FROM meter.balances")
    assert {row[0]: row[1:] for row in rows} == {
        account: (scribe.balances[account], scribe.reserved[account]) for account in scribe.balances
    }


@pytest.mark.parametrize("table", ["ledger_2025_11", "open_holds", "settled_holds"])
async def test_a_backend_killed_in_the_middle_of_copy(ledger: Ledger, ask: Ask, table: str) -> None:
    await ask("SELECT meter.create_partition(2025, 11)")
    relation = "ledger" if table.startswith("ledger") else table
    await ask(SLOW.format(table=table))
    try:
        flushing = Flushing(ledger)
        flushing.trade()
        async with flushing.at_work():
            for _ in range(3):
                await until(lambda: ask(IN_COPY.format(table=relation)))
                copying = await ask(IN_COPY.format(table=relation))
                await ask(
                    "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid",
                    [row[0] for row in copying],
                )
            await ask(f"DROP TRIGGER slow ON meter.{table}")
    finally:
        await ask("DROP FUNCTION meter.slow() CASCADE")
    assert flushing.met("terminating connection")
    await assert_booked_once(ask, flushing.scribe)


async def test_a_full_disk(ledger: Ledger, ask: Ask) -> None:
    await ask(FULL.format(table="settled_holds"))
    try:
        flushing = Flushing(ledger)
        flushing.trade()
        async with flushing.at_work():
            await until(lambda: truth(len(flushing.told) > 3))
            assert await ask("SELECT count(*) FROM meter.ledger") == [(0,)]
            await ask("DROP FUNCTION meter.slow() CASCADE")
    finally:
        await ask("DROP FUNCTION IF EXISTS meter.slow() CASCADE")
    assert flushing.met("no space left on device")
    await assert_booked_once(ask, flushing.scribe)


async def test_a_deadlock_with_somebody_elses_transaction(
    ledger: Ledger, ask: Ask, database_url: str
) -> None:
    first = Scribe()
    first.allocate(ALICE, 0)
    first.allocate(BOB, 0)
    await ask(
        "INSERT INTO meter.accounts SELECT 'acme', account, NULL, '', '', NULL, 0, 0, 0, 1, 0, now(), now() "
        "FROM unnest(%s::text[]) AS account",
        [ALICE, BOB],
    )
    flushing = Flushing(ledger)
    flushing.trade()
    lock = "UPDATE meter.accounts SET balance = balance WHERE account = %s"
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SET deadlock_timeout = '20s'")
        await other.execute(lock, (BOB,))
        async with flushing.at_work():
            await until(lambda: ask(waits))
            await other.execute(lock, (ALICE,))  # waits for the flusher, which waits for us
            await other.rollback()
    assert flushing.met("deadlock detected")
    await assert_booked_once(ask, flushing.scribe)
