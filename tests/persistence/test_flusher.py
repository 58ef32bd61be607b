"""The flusher over a real Postgres and a journal in memory: nothing lost, nothing twice, nobody blocked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest
from msgspec.structs import replace
from scribe import ALICE, BOB, Ask, FakeJournal, Scribe, namespace_in, renew

from gateway.domain.entries import Entry, Position
from gateway.errors import MeterUnavailableError
from gateway.seams.shards import NO_HOLDS, Poster, SettledHolds, ShardRow, StoppedShard
from persistence.database import Database
from persistence.flusher import Flusher, filling_s
from persistence.ledger import Ledger

WAIT_S = 20.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


async def shown(ledger: Ledger, reasons: list[str]) -> Sequence[StoppedShard]:
    """Wait until everybody can see shards stopped for these reasons; give them."""
    async with asyncio.timeout(WAIT_S):
        while True:
            seen, _ = await ledger.faults()
            if [found.reason for found in seen] == reasons:
                return seen
            await asyncio.sleep(0.005)


def quick(journal: FakeJournal, poster: Poster, **options: object) -> Flusher:
    given = {"interval_ms": 5, "block_ms": 20} | options
    return Flusher(journal, poster, **given)  # type: ignore[arg-type]


@asynccontextmanager
async def flushing(*flushers: Flusher) -> AsyncIterator[None]:
    """Run flushers beside the block; stop them at its end and wait until they have drained."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(flusher.run(stop)) for flusher in flushers]
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*tasks)


class Through(Poster):
    """A poster that hands on to a ledger and sees what passes."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.calls: list[Mapping[int, int]] = []

    async def shard_rows(self) -> Sequence[ShardRow]:
        return await self.ledger.shard_rows()

    async def post(
        self, batches: Mapping[int, Sequence[Entry]], fences: Mapping[int, int] | None = None
    ) -> Mapping[int, Position]:
        self.calls.append({shard: len(batch) for shard, batch in batches.items()})
        return await self.ledger.post(batches, fences)


def trade(scribe: Scribe, times: int = 10) -> None:
    """Write holds and commits, one hold left open each time."""
    for _ in range(times):
        scribe.allocate(ALICE, 100)
        scribe.commit(scribe.reserve({ALICE: 5, BOB: 2}), 3)
        scribe.release(scribe.reserve({BOB: 1}))
        scribe.reserve({BOB: 1})


async def booked(ask: Ask) -> int:
    ((count,),) = await ask("SELECT count(*) FROM meter.ledger")
    return int(count)


def lines(times: int) -> int:
    return 3 * times


async def test_what_is_in_the_journal_is_posted_noted_and_let_go(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    journal = FakeJournal(scribe)
    trade(scribe)
    settled = {(e.namespace, e.hold_id) for e in scribe.entries if e.verb in {"commit", "release"}}
    head = scribe.entries[-1].position
    async with flushing(quick(journal, ledger)):
        await until(lambda: journal.marks[scribe.shard] == head)
        assert sorted(journal.left) == sorted(settled)
        assert scribe.entries == []
        scribe.consume(ALICE, 1)
        await until(lambda: scribe.entries == [])
    assert await booked(ask) == lines(10) + 1
    assert journal.notes == sorted(set(journal.notes)), "each position is noted once"


async def test_all_shards_share_transactions_of_bounded_size(ledger: Ledger, ask: Ask) -> None:
    scribes = [Scribe(namespace_in(shard)) for shard in range(20)]
    for scribe in scribes:
        trade(scribe)
    total = sum(len(scribe.entries) for scribe in scribes)
    poster = Through(ledger)
    journal = FakeJournal(*scribes)
    async with flushing(quick(journal, poster, batch_entries=100)):
        await until(lambda: not any(scribe.entries for scribe in scribes))
    sizes = [sum(call.values()) for call in poster.calls]
    assert max(sizes) == 100
    assert sum(sizes) == total
    assert max(len(call) for call in poster.calls) > 1
    assert await booked(ask) == 20 * lines(10)


async def test_a_batch_size_of_one_still_posts_everything(ledger: Ledger, ask: Ask) -> None:
    scribes = [Scribe(namespace_in(shard)) for shard in range(3)]
    for scribe in scribes:
        trade(scribe, 2)
    async with flushing(quick(FakeJournal(*scribes), ledger, batch_entries=1, interval_ms=1)):
        await until(lambda: not any(scribe.entries for scribe in scribes))
    assert await booked(ask) == 3 * lines(2)


async def test_stopping_drains_the_journal(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    trade(scribe, 50)
    stop = asyncio.Event()
    stop.set()
    await quick(FakeJournal(scribe), ledger, batch_entries=30).run(stop)
    assert scribe.entries == []
    assert await booked(ask) == lines(50)


async def test_draining_ends_at_its_bound(ledger: Ledger) -> None:
    scribe = Scribe()
    trade(scribe)

    class Away(Through):
        async def post(
            self, batches: Mapping[int, Sequence[Entry]], fences: Mapping[int, int] | None = None
        ) -> Mapping[int, Position]:
            raise MeterUnavailableError(f"away with {len(batches)} batches")

    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(WAIT_S):
        await quick(FakeJournal(scribe), Away(ledger), drain_s=0.1).run(stop)
    assert scribe.entries


async def test_several_flushers_at_once_post_each_entry_once(
    ledger: Ledger, database: Database, ask: Ask
) -> None:
    scribes = [Scribe(namespace_in(shard)) for shard in range(6)]
    journal = FakeJournal(*scribes)
    flushers = [quick(journal, Ledger(database), batch_entries=40, interval_ms=1) for _ in range(3)]
    async with flushing(*flushers):
        for _ in range(20):
            for scribe in scribes:
                trade(scribe, 2)
            await asyncio.sleep(0.005)
        await until(lambda: not any(scribe.entries for scribe in scribes))
    assert await booked(ask) == 6 * lines(40)
    assert [flusher.stopped for flusher in flushers] == [{}, {}, {}]
    assert len(set(journal.left)) == 6 * 40 * 2
    rows = await ask("SELECT sum(balance)::int, sum(reserved)::int FROM meter.balances")
    balances = sum(sum(scribe.balances.values()) for scribe in scribes)
    assert rows == [(balances, 6 * 40)]


async def test_a_shard_skipped_in_one_transaction_is_left_out_of_the_next(
    ledger: Ledger, database: Database, ask: Ask
) -> None:
    """Its entries did not all fit into the first: posted alone, the rest would look like a gap."""
    scribes = [Scribe(namespace_in(shard)) for shard in range(20)]
    for scribe in scribes:
        trade(scribe)

    class HeldAtFirst(Through):
        async def post(
            self, batches: Mapping[int, Sequence[Entry]], fences: Mapping[int, int] | None = None
        ) -> Mapping[int, Position]:
            if self.calls:
                return await super().post(batches, fences)
            async with database.transaction() as connection:
                await connection.execute("SELECT 1 FROM meter.shards WHERE shard = 8 FOR UPDATE")
                return await super().post(batches, fences)

    poster = HeldAtFirst(ledger)
    flusher = quick(FakeJournal(*scribes), poster, batch_entries=100)
    async with flushing(flusher):
        await until(lambda: not any(scribe.entries for scribe in scribes))
    assert poster.calls[0][8] < 100 // 8, "it was cut"
    assert flusher.stopped == {}
    assert await booked(ask) == 20 * lines(10)


async def test_a_shard_that_somebody_else_holds_is_waited_for(
    ledger: Ledger, database: Database, ask: Ask
) -> None:
    scribes = [Scribe(namespace_in(shard)) for shard in range(3)]
    for scribe in scribes:
        trade(scribe)
    poster = Through(ledger)
    async with flushing(quick(FakeJournal(*scribes), poster)):
        async with database.transaction() as connection:
            await connection.execute("SELECT 1 FROM meter.shards WHERE shard = 2 FOR UPDATE")
            await until(lambda: [scribe.shard for scribe in scribes if scribe.entries] == [2])
            seen = len(poster.calls)
            await until(lambda: len(poster.calls) > seen + 2)
        await until(lambda: scribes[2].entries == [])
    assert await booked(ask) == 3 * lines(10)


async def test_another_flusher_at_work_while_this_one_starts_is_no_loss(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    trade(scribe)
    journal = FakeJournal(scribe)

    class Late(Through):
        async def shard_rows(self) -> Sequence[ShardRow]:
            rows = await super().shard_rows()
            if entries := scribe.entries:
                await self.ledger.post({scribe.shard: entries})
                await journal.posted(scribe.shard, entries[-1].position)
            return rows

    flusher = quick(journal, Late(ledger))
    async with flushing(flusher):
        await until(lambda: scribe.entries == [])
        trade(scribe)
        await until(lambda: scribe.entries == [])
    assert flusher.stopped == {}
    assert await booked(ask) == lines(20)


async def test_a_crash_between_posting_and_noting_is_made_good(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    trade(scribe)
    settled = sorted((e.namespace, e.hold_id) for e in scribe.entries if e.verb in {"commit", "release"})

    class Dying(FakeJournal):
        dead = False

        async def posted(self, shard: int, upto: Position, settled: SettledHolds = NO_HOLDS) -> bool:
            if not self.dead:
                self.dead = True
                raise ConnectionAbortedError
            return await super().posted(shard, upto, settled)

    journal = Dying(scribe)
    with pytest.raises(ConnectionAbortedError):
        await quick(journal, ledger).run(asyncio.Event())
    assert await booked(ask) == lines(10)
    assert journal.left == []
    async with flushing(quick(journal, ledger, batch_entries=16)):
        await until(lambda: scribe.entries == [])
    assert sorted(journal.left) == settled
    assert await booked(ask) == lines(10)


async def test_what_is_posted_while_its_shard_is_closed_is_noted_once_it_is_open_again(
    ledger: Ledger, ask: Ask
) -> None:
    scribe = Scribe()
    trade(scribe)
    settled = sorted((e.namespace, e.hold_id) for e in scribe.entries if e.verb in {"commit", "release"})

    class Closing(FakeJournal):
        tries = 0

        async def posted(self, shard: int, upto: Position, settled: SettledHolds = NO_HOLDS) -> bool:
            self.tries += 1
            return self.tries > 3 and await super().posted(shard, upto, settled)

        async def posted_marks(self) -> Mapping[int, Position]:
            return await super().posted_marks() if self.tries in {0, 3} else {scribe.shard: Position(0, -1)}

    journal = Closing(scribe)
    async with flushing(quick(journal, ledger, batch_entries=16)):
        await until(lambda: scribe.entries == [])
    assert sorted(journal.left) == settled, "no hold stays for good"
    assert await booked(ask) == lines(10)


async def test_a_database_that_is_away_is_waited_for(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    trade(scribe)
    failures = [
        psycopg.errors.DeadlockDetected,
        psycopg.errors.SerializationFailure,
        psycopg.errors.AdminShutdown,
        psycopg.errors.DiskFull,
        psycopg.errors.TooManyConnections,
        psycopg.OperationalError,
    ]

    class Failing(Through):
        async def post(
            self, batches: Mapping[int, Sequence[Entry]], fences: Mapping[int, int] | None = None
        ) -> Mapping[int, Position]:
            if failures:
                error = failures.pop()
                async with self.ledger._database.transaction():
                    raise error("now")
            return await super().post(batches, fences)

    flusher = quick(FakeJournal(scribe), Failing(ledger))
    async with flushing(flusher):
        await until(lambda: scribe.entries == [])
    assert not failures
    assert await booked(ask) == lines(10)
    assert flusher.stopped == {}


async def test_connections_killed_all_the_time_neither_lose_nor_double_an_entry(
    ledger: Ledger, ask: Ask
) -> None:
    scribes = [Scribe(namespace_in(shard)) for shard in range(3)]
    journal = FakeJournal(*scribes)
    async with flushing(quick(journal, ledger, batch_entries=200, interval_ms=1)):
        for _ in range(40):
            for scribe in scribes:
                trade(scribe, 5)
            await ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'quotagate' AND datname = current_database()"
            )
        await until(lambda: not any(scribe.entries for scribe in scribes))
    assert await booked(ask) == 3 * lines(200)
    sums = await ask("SELECT namespace, account, sum(amount) FROM meter.ledger GROUP BY 1, 2")
    for namespace, account, total in sums:
        (scribe,) = [scribe for scribe in scribes if scribe.namespace == namespace]
        assert total == scribe.balances[account]


def lose_an_entry(scribe: Scribe) -> None:
    del scribe.entries[4]


def invent_a_hold(scribe: Scribe) -> None:
    scribe.entries[5] = replace(
        scribe.entries[5], verb="release", hold_id="never", legs=scribe.entries[1].legs
    )


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lose_an_entry, "continue at 1-4, but its next entry is 1-5"),
        (invent_a_hold, "tells hold never as released; the ledger knows it as nothing"),
    ],
)
async def test_a_shard_that_cannot_be_posted_stops_alone_and_says_why(
    ledger: Ledger, ask: Ask, spoil: Callable[[Scribe], None], reason: str
) -> None:
    good, bad = Scribe(namespace_in(1)), Scribe(namespace_in(2))
    trade(good)
    trade(bad)
    spoil(bad)
    flusher = quick(FakeJournal(bad, good), ledger)
    async with flushing(flusher):
        await until(lambda: good.entries == [] and bool(flusher.stopped))
        trade(good)
        await until(lambda: good.entries == [])
        assert list(flusher.stopped) == [bad.shard]
        assert reason in flusher.stopped[bad.shard]
    assert await ask("SELECT DISTINCT namespace FROM meter.ledger") == [(good.namespace,)]
    assert await booked(ask) == lines(20)


async def test_a_flusher_with_nothing_left_to_post_waits_for_its_end(ledger: Ledger) -> None:
    scribe = Scribe()
    trade(scribe)
    lose_an_entry(scribe)

    class OneShard(Through):
        async def shard_rows(self) -> Sequence[ShardRow]:
            return [row for row in await super().shard_rows() if row.shard == scribe.shard]

    flusher = quick(FakeJournal(scribe), OneShard(ledger))
    async with flushing(flusher):
        await until(lambda: scribe.shard in flusher.stopped)


async def test_a_poison_entry_keeps_nobody_waiting(ledger: Ledger, ask: Ask) -> None:
    good, bad = Scribe(namespace_in(1)), Scribe(namespace_in(2))
    trade(good)
    trade(bad)
    bad.entries[6] = replace(bad.entries[6], body=b'{"reference_id":9223372036854775808}')
    bad.entries[8] = replace(bad.entries[8], body=b"{")
    flusher = quick(FakeJournal(bad, good), ledger, faults=ledger)
    async with flushing(flusher):
        await until(lambda: good.entries == [] and bad.entries == [])
        trade(bad)
        await until(lambda: bad.entries == [])
    assert flusher.stopped == {}
    assert await ledger.faults() == ([], 2)
    assert await booked(ask) == lines(30)


async def test_a_stopped_shard_is_shown_and_goes_on_by_itself_once_its_cause_is_mended(
    ledger: Ledger, ask: Ask
) -> None:
    scribe = Scribe()
    trade(scribe)
    whole = list(scribe.entries)
    lose_an_entry(scribe)
    flusher = quick(FakeJournal(scribe), ledger, faults=ledger)
    async with flushing(flusher):
        await until(lambda: scribe.shard in flusher.stopped)
        ((shard, since, reason),) = await shown(ledger, list(flusher.stopped.values()))
        assert shard == scribe.shard
        await until(lambda: flusher._stopped[scribe.shard].length_s > 1)
        assert (await ledger.faults())[0] == [(shard, since, reason)], "since is when it first stopped"
        scribe.entries = whole
        await until(lambda: scribe.entries == [])
        await shown(ledger, [])
    assert flusher.stopped == {}
    assert await booked(ask) == lines(10)


async def test_a_new_flusher_takes_over_what_an_earlier_one_stopped(ledger: Ledger) -> None:
    """Nothing is left to post there: only looking again tells that the cause is gone."""
    scribe = Scribe()
    await ledger.stopped(scribe.shard, "for the test")
    flusher = quick(FakeJournal(scribe), ledger, faults=ledger)
    async with flushing(flusher):
        await until(lambda: not flusher.stopped)
        await shown(ledger, [])


async def test_a_new_flusher_pauses_as_well_where_the_cause_is_not_gone(ledger: Ledger) -> None:
    scribe = Scribe()
    trade(scribe)
    lose_an_entry(scribe)
    await ledger.stopped(scribe.shard, "for the test")
    ((_, since, _),) = (await ledger.faults())[0]
    flusher = quick(FakeJournal(scribe), ledger, faults=ledger)
    async with flushing(flusher):
        await until(lambda: "continue at" in flusher.stopped.get(scribe.shard, ""))
        assert flusher._stopped[scribe.shard].length_s > 1
        seen = await shown(ledger, list(flusher.stopped.values()))
        assert [(found.shard, found.since) for found in seen] == [(scribe.shard, since)]


async def test_an_idle_flusher_leaves_shards_to_the_one_that_posts_them(
    ledger: Ledger, database: Database, ask: Ask
) -> None:
    scribe = Scribe()
    journal = FakeJournal(scribe)
    ahead, idle = Through(ledger), Through(Ledger(database))
    first, second = quick(journal, ahead), quick(journal, idle)
    ended = asyncio.Event()
    working = asyncio.create_task(first.run(ended))
    async with flushing(second):
        for _ in range(30):
            trade(scribe, 1)
            await until(lambda: scribe.entries == [])
        ended.set()
        await working
        trade(scribe, 1)
        await until(lambda: scribe.entries == [])
    assert await booked(ask) == lines(31)


async def test_a_journal_of_another_epoch_stops_the_shard(ledger: Ledger) -> None:
    scribe = Scribe(epoch=3)
    trade(scribe)
    journal = FakeJournal(scribe)
    journal.marks[scribe.shard] = Position(1, -1)
    flusher = quick(journal, ledger)
    async with flushing(flusher):
        await until(lambda: scribe.shard in flusher.stopped)
    assert flusher.stopped[scribe.shard] == "the journal is in epoch 3, the ledger in epoch 1"


@pytest.mark.parametrize("mark", [Position(1, 7), Position(2, -1)])
async def test_a_ledger_behind_what_the_journal_let_go_stops_the_shard(
    ledger: Ledger, mark: Position
) -> None:
    scribe = Scribe()
    journal = FakeJournal(scribe)
    journal.marks[scribe.shard] = mark
    flusher = quick(journal, ledger)
    async with flushing(flusher):
        await until(lambda: scribe.shard in flusher.stopped)
    assert "but the ledger ends at" in flusher.stopped[scribe.shard]


async def test_a_running_flusher_follows_a_shard_into_its_new_epoch(ledger: Ledger, ask: Ask) -> None:
    old = Scribe()
    journal = FakeJournal(old)
    flusher = quick(journal, ledger)
    async with flushing(flusher):
        trade(old)
        await until(lambda: old.entries == [])
        await renew(ledger, [old.shard])
        left_behind = old.allocate(ALICE, 1_000_000)
        new = Scribe(epoch=2)
        new.balances, new.reserved = dict(old.balances), dict(old.reserved)
        trade(new)
        new.entries.insert(0, left_behind)
        journal.scribes[old.shard] = new
        await until(lambda: new.entries == [])
    assert flusher.stopped == {}
    assert await booked(ask) == 2 * lines(10), "what the closed epoch left behind is not booked"


async def test_what_was_read_before_a_closing_is_not_posted(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe(namespace_in(7))
    trade(scribe, 1)
    ((fence,),) = await ask("UPDATE meter.shards SET fence = fence + 1 WHERE shard = 7 RETURNING fence")
    batch = {7: scribe.entries}
    assert await ledger.post(batch, {7: fence - 1}) == {}
    assert await ledger.post(batch, {}) == {}
    assert await ledger.post(batch, {7: fence}) == {7: scribe.entries[-1].position}


async def test_a_flusher_learns_of_a_closing_and_reads_again(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe(namespace_in(7))
    journal = FakeJournal(scribe)
    scribe.allocate(ALICE, 1)
    async with flushing(quick(journal, ledger)):
        await until(lambda: not scribe.entries)
        await ask("UPDATE meter.shards SET fence = fence + 1 WHERE shard = 7")
        scribe.allocate(ALICE, 1)
        await until(lambda: not scribe.entries)


@pytest.mark.parametrize(
    ("posting_s", "filling"), [(0.0, 0.05), (0.0125, 0.05), (0.015, 0.06), (0.0375, 0.15), (9.0, 0.15)]
)
def test_batches_fill_longer_where_posting_takes_long(posting_s: float, filling: float) -> None:
    assert filling_s(0.05, posting_s) == pytest.approx(filling)
