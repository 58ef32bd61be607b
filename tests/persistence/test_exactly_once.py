"""A batch is posted whole or not at all, and never twice, whatever breaks and whoever else is at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from scribe import ALICE, BOB, MONEY, START_MS, Ask, Scribe, namespace_in, renew

from gateway.domain.entries import Entry, Position
from gateway.errors import MeterUnavailableError
from persistence.database import Database
from persistence.errors import JournalEpochError, JournalForkError, JournalGapError
from persistence.ledger import Ledger

TABLES = (
    *("accounts", "open_holds", "settled_holds", "ledger", "usage_hourly", "audits", "audit_findings"),
    *("first_answers", "duplicates"),
)


class CrashError(Exception):
    """What the crashing wrapper raises."""


async def everything(ask: Ask) -> dict[str, Any]:
    """Give the whole content of the ledger's side, for comparing."""
    rows = {table: await ask(f"SELECT to_jsonb(t) FROM meter.{table} AS t ORDER BY 1") for table in TABLES}
    return rows | {"shards": await ask("SELECT shard, epoch, seq FROM meter.shards ORDER BY shard")}


def a_bit_of_everything(scribe: Scribe) -> list[Entry]:
    """Write two batches' worth of entries; give the first of them. The second settles holds of the first."""
    scribe.allocate(ALICE, 1000)
    scribe.with_key("k")
    scribe.allocate(ALICE, 1000)
    duplicate = scribe.with_key("k")
    first, second, third = (scribe.reserve({ALICE: 10, BOB: 20}) for _ in range(3))
    scribe.extend(third, 5)
    scribe.commit(first, 7)
    batch = list(scribe.entries)
    scribe.commit(second, 30)
    scribe.extend(third, 5)
    scribe.consume(MONEY, 1_250_000)
    scribe.with_key("k")
    scribe.undo(duplicate)
    scribe.audit(ALICE, BOB, told={BOB: (0, 0, 0)})
    scribe.release(scribe.reserve({BOB: 1}))
    return batch


async def test_a_batch_posted_again_changes_nothing(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    first = a_bit_of_everything(scribe)
    assert await ledger.post({scribe.shard: first}) == {scribe.shard: first[-1].position}
    before = await everything(ask)
    assert await ledger.post({scribe.shard: first}) == {}
    assert await ledger.post({scribe.shard: scribe.entries}) == {}, "it begins before the watermark"
    assert await everything(ask) == before


@pytest.mark.parametrize("step", [1, 2, 3, 100])
async def test_entries_found_booked_already_are_not_booked_twice(ledger: Ledger, ask: Ask, step: int) -> None:
    """Only a watermark that was set back by hand leads here; the content decides then."""
    scribe = Scribe()
    a_bit_of_everything(scribe)
    await ledger.post({scribe.shard: scribe.entries})
    before = await everything(ask)
    await ask("UPDATE meter.shards SET seq = -1 WHERE shard = %s", scribe.shard)
    for start in range(0, len(scribe.entries), step):
        batch = scribe.entries[start : start + step]
        assert await ledger.post({scribe.shard: batch}) == {scribe.shard: batch[-1].position}
    assert await everything(ask) == before


def other_amount(entry: Entry) -> Entry:
    leg = entry.legs[0]
    return replace(entry, legs=(replace(leg, amount=leg.amount + 1),))


def other_time(entry: Entry) -> Entry:
    return replace(entry, at_ms=entry.at_ms + 1)


def other_words(entry: Entry) -> Entry:
    return replace(entry, body=b'{"reason":"another"}')


@pytest.mark.parametrize("changed", [other_amount, other_time, other_words])
async def test_an_entry_booked_with_other_content_is_a_fork(
    ledger: Ledger, ask: Ask, changed: Callable[[Entry], Entry]
) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 5)
    await ledger.post({scribe.shard: scribe.entries})
    before = await everything(ask)
    await ask("UPDATE meter.shards SET seq = -1 WHERE shard = %s", scribe.shard)
    with pytest.raises(JournalForkError, match="entry 1-0 is booked already, with other content") as raised:
        await ledger.post({scribe.shard: [changed(scribe.entries[0])]})
    assert raised.value.shard == scribe.shard
    await ask("UPDATE meter.shards SET seq = 0 WHERE shard = %s", scribe.shard)
    assert await everything(ask) == before


async def test_a_hold_made_again_otherwise_is_a_fork(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.reserve({ALICE: 5})
    await ledger.post({scribe.shard: scribe.entries})
    await ask("UPDATE meter.shards SET seq = -1 WHERE shard = %s", scribe.shard)
    with pytest.raises(JournalForkError, match="exists already, made otherwise"):
        await ledger.post({scribe.shard: [other_time(scribe.entries[0])]})


async def test_a_gap_is_proof_of_loss_and_nothing_is_written(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    for _ in range(4):
        scribe.allocate(ALICE, 1)
    before = await everything(ask)
    with pytest.raises(JournalGapError, match="continue at 1-0, but its next entry is 1-1") as raised:
        await ledger.post({scribe.shard: scribe.since(1)})
    assert raised.value.shard == scribe.shard
    with pytest.raises(JournalGapError, match="continue at 1-2, but its next entry is 1-3"):
        await ledger.post({scribe.shard: [*scribe.entries[:2], scribe.entries[3]]})
    assert await everything(ask) == before


@pytest.mark.parametrize("epoch", [0, 2])
async def test_entries_of_another_epoch_are_refused(ledger: Ledger, ask: Ask, epoch: int) -> None:
    scribe = Scribe(epoch=epoch)
    scribe.allocate(ALICE, 1)
    before = await everything(ask)
    with pytest.raises(JournalEpochError, match=f"journal is in epoch {epoch}, the ledger in epoch 1"):
        await ledger.post({scribe.shard: scribe.entries})
    assert await everything(ask) == before


async def test_a_new_epoch_begins_at_nothing_posted(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 1)
    await ledger.post({scribe.shard: scribe.entries})
    assert await renew(ledger, [scribe.shard]) == {scribe.shard: 2}
    rows = {row.shard: row for row in await ledger.shard_rows()}
    assert len(rows) == 128
    assert rows[scribe.shard].watermark == Position(2, -1)
    anew = Scribe(epoch=2)
    anew.balances = scribe.balances
    anew.allocate(ALICE, 1)
    assert await ledger.post({anew.shard: anew.entries}) == {anew.shard: Position(2, 0)}
    assert await ask("SELECT count(*), sum(amount) FROM meter.ledger") == [(2, 2)]


async def test_a_shard_that_another_flusher_holds_is_skipped_and_the_rest_posted(
    ledger: Ledger, database: Database
) -> None:
    held, free = Scribe(namespace_in(5)), Scribe(namespace_in(6))
    held.allocate(ALICE, 1)
    free.allocate(ALICE, 1)
    batches = {5: held.entries, 6: free.entries}
    async with database.transaction() as connection:
        await connection.execute("SELECT 1 FROM meter.shards WHERE shard = 5 FOR UPDATE")
        assert await ledger.post(batches) == {6: Position(1, 0)}
    assert await ledger.post(batches) == {5: Position(1, 0)}


async def test_many_posters_of_the_same_batches_post_each_once(
    ledger: Ledger, database: Database, ask: Ask
) -> None:
    scribes = [Scribe(namespace_in(shard)) for shard in range(8)]
    for scribe in scribes:
        a_bit_of_everything(scribe)
    batches = {scribe.shard: scribe.entries for scribe in scribes}
    posters = [Ledger(database) for _ in range(4)]
    answers = await asyncio.gather(*(poster.post(batches) for poster in posters))
    posted = [shard for answer in answers for shard in answer]
    assert sorted(posted) == list(range(8))
    booked = sum(bool(leg.amount) for entry in scribes[0].entries for leg in entry.legs)
    assert await ask("SELECT count(*) FROM meter.ledger") == [(8 * booked,)]


async def test_a_crash_at_any_step_leaves_nothing(
    ledger: Ledger, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    scribe = Scribe()
    first = a_bit_of_everything(scribe)
    await ledger.post({scribe.shard: first})
    second = scribe.since(len(first))
    before = await everything(ask)
    steps, crash_at = 0, 1
    while crash_at < 200:
        with monkeypatch.context() as patch:
            fuse = crash_after(patch, crash_at)
            try:
                posted = await ledger.post({scribe.shard: second})
            except CrashError:
                steps += fuse[0] >= crash_at
                crash_at += 1
            else:
                if posted:
                    break
                # What crashed before may not be rolled back yet: the shard is left alone till then.
        assert await everything(ask) == before
    assert steps > 15, "the wrapper saw the statements and the copies"
    after = await everything(ask)
    assert after != before
    watermark = await ask("SELECT seq FROM meter.shards WHERE shard = %s", scribe.shard)
    assert watermark == [(second[-1].position.seq,)]


def crash_after(patch: pytest.MonkeyPatch, crash_at: int) -> list[int]:
    """Let the ``crash_at``-th statement or write of a copy raise, after the server has been given it.

    Only those of this task: a meter that other tests share renews its lease meanwhile.
    """
    count, ours = [0], asyncio.current_task()

    def wrap(holder: type, name: str) -> None:
        original = getattr(holder, name)

        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = await original(*args, **kwargs)
            if asyncio.current_task() is not ours:
                return result
            count[0] += bool(args[1])  # the pool checks a connection with an empty statement
            if count[0] == crash_at and args[1]:
                raise CrashError
            return result

        patch.setattr(holder, name, wrapped)

    wrap(psycopg.AsyncCursor, "execute")
    wrap(psycopg.AsyncCopy, "write")
    return count


@pytest.mark.parametrize("copies", [1, 2, 3])
async def test_a_connection_lost_in_the_middle_of_a_copy_is_unavailable_and_leaves_nothing(
    ledger: Ledger, ask: Ask, monkeypatch: pytest.MonkeyPatch, copies: int
) -> None:
    scribe = Scribe()
    scribe.at_ms = START_MS
    for _ in range(1200):
        scribe.commit(scribe.reserve({ALICE: 1}), 1)
        scribe.reserve({BOB: 1})
    original = psycopg.AsyncCopy.write
    left = copies

    async def write(self: psycopg.AsyncCopy, buffer: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            pid = self.cursor.connection.info.backend_pid
            await ask("SELECT pg_terminate_backend(%s, 5000)", pid)
        await original(self, buffer)

    before = await everything(ask)
    with monkeypatch.context() as patch:
        patch.setattr(psycopg.AsyncCopy, "write", write)
        with pytest.raises(MeterUnavailableError) as raised:
            await ledger.post({scribe.shard: scribe.entries})
        assert raised.value.code == "store_unavailable"
    assert await everything(ask) == before
    await ledger.post({scribe.shard: scribe.entries})
    assert await ask("SELECT count(*), sum(amount) FROM meter.ledger") == [(1200, -1200)]
    assert await ask("SELECT count(*) FROM meter.open_holds") == [(1200,)]


async def test_a_commit_whose_answer_is_lost_is_found_posted(
    ledger: Ledger, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 1)
    leave = psycopg.AsyncTransaction.__aexit__

    async def lose_the_answer(self: Any, *raised: Any) -> Any:
        await leave(self, *raised)
        raise psycopg.OperationalError("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.AsyncTransaction, "__aexit__", lose_the_answer)
        with pytest.raises(MeterUnavailableError):
            await ledger.post({scribe.shard: scribe.entries})
    assert await ledger.post({scribe.shard: scribe.entries}) == {}
    assert await ask("SELECT count(*) FROM meter.ledger") == [(1,)]
