"""First answers are kept with the entries they belong to; who comes again later is noted, once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog
from scribe import ALICE, BOB, Ask, Scribe, namespace_in, post, renew

from gateway.domain.entries import Entry, Position
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.protocols import Duplicate, FirstAnswer
from persistence.answers import Answers
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.upkeep import Upkeep

FOUND = "SELECT epoch, seq, first_epoch, first_seq, state FROM meter.duplicates ORDER BY epoch, seq"


@pytest.fixture
def answers(database: Database) -> Answers:
    return Answers(database)


def movement(scribe: Scribe, key: str, fingerprint: str = "f", amount: int = 5) -> Entry:
    scribe.allocate(ALICE, amount)
    return scribe.with_key(key, fingerprint)


async def test_the_first_answer_of_each_key_is_kept(ledger: Ledger, answers: Answers) -> None:
    scribe = Scribe()
    keys = ["k", "ü \\ 3", "x" * 512, "\\N", "漢" * 170]
    for key in keys:
        movement(scribe, key)
    scribe.allocate(ALICE, 1)
    await post(ledger, scribe)
    found = await answers.first_answers([("acme", key) for key in [*keys, "unknown"]] + [("other", "k")])
    assert found == {
        ("acme", key): FirstAnswer("f", Position(1, seq), f"answer of 1-{seq}")
        for seq, key in enumerate(keys)
    }


async def test_a_long_namespace_has_keys_of_its_own(ledger: Ledger, answers: Answers) -> None:
    scribe = Scribe("漢" * 1024)
    movement(scribe, "k")
    await post(ledger, scribe)
    assert list(await answers.first_answers([(scribe.namespace, "k"), ("漢" * 1023, "k")])) == [
        (scribe.namespace, "k")
    ]


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_call_that_came_again_is_a_duplicate(
    ledger: Ledger, answers: Answers, ask: Ask, at_once: bool
) -> None:
    scribe = Scribe()
    movement(scribe, "k")
    movement(scribe, "other")
    if not at_once:
        await post(ledger, scribe)
    movement(scribe, "k")
    movement(scribe, "k")
    await post(ledger, scribe, 0 if at_once else 2)
    assert await ask(FOUND) == [(1, 2, 1, 0, "pending"), (1, 3, 1, 0, "pending")]
    first = Position(1, 0)
    assert await answers.pending(9) == [
        Duplicate(Position(1, seq), first, f"answer of 1-{seq}") for seq in (2, 3)
    ]
    seqs = [[again.position.seq for again in await answers.pending(1)] for _ in range(4)]
    assert seqs == [[2], [3], [], [2]], "page after page, and then from the beginning"
    assert (await answers.first_answers([("acme", "k")]))["acme", "k"].position == first


async def test_another_call_under_a_used_key_is_kept_and_told(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    movement(scribe, "k")
    movement(scribe, "k", "g")
    with structlog.testing.capture_logs() as logs:
        await post(ledger, scribe)
    assert [(log["event"], log["namespace"]) for log in logs] == [("key_reused", "acme")]
    assert await ask(FOUND) == [(1, 1, 1, 0, "kept")]
    movement(scribe, "k")
    with structlog.testing.capture_logs() as logs:
        await post(ledger, scribe, 2)
    assert [log["event"] for log in logs] == ["duplicate_found"]


async def test_a_key_of_another_namespace_is_another_key(ledger: Ledger, ask: Ask) -> None:
    scribes = [Scribe(namespace_in(5, number)) for number in range(2)]
    scribes[1]._seq = 1
    for scribe in scribes:
        movement(scribe, "k")
    await ledger.post({5: [scribe.entries[0] for scribe in scribes]})
    assert await ask(FOUND) == []


async def test_a_duplicate_in_a_new_epoch_is_found(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    movement(scribe, "k")
    await post(ledger, scribe)
    await renew(ledger, [scribe.shard])
    anew = Scribe(epoch=2)
    anew.balances = scribe.balances
    movement(anew, "k")
    await post(ledger, anew)
    assert await ask(FOUND) == [(2, 0, 1, 0, "pending")]


async def test_the_entry_that_undoes_it_ends_it(ledger: Ledger, answers: Answers, ask: Ask) -> None:
    scribe = Scribe()
    movement(scribe, "k")
    duplicate = movement(scribe, "k")
    await post(ledger, scribe)
    assert await answers.is_pending("acme", duplicate.position)
    assert not await answers.is_pending("other", duplicate.position)
    assert await answers.count_duplicates() == {"pending": 1, "undone": 0, "kept": 0}
    scribe.undo(duplicate)
    await post(ledger, scribe, 2)
    assert not await answers.is_pending("acme", duplicate.position)
    assert await answers.pending(9) == []
    assert await answers.count_duplicates() == {"pending": 0, "undone": 1, "kept": 0}
    assert await ask("SELECT undone_epoch, undone_seq FROM meter.duplicates") == [(1, 2)]
    assert await ask("SELECT sum(amount) FROM meter.ledger") == [(5,)]


async def test_what_two_entries_of_one_posting_undo_is_marked_once(ledger: Ledger, ask: Ask) -> None:
    """One gateway undid it in its own epoch and stood still, another in the next: both are salvaged."""
    scribe = Scribe()
    movement(scribe, "k")
    duplicate = movement(scribe, "k")
    await post(ledger, scribe)
    scribe.undo(duplicate)
    scribe.undo(duplicate)
    await post(ledger, scribe, 2)
    assert await ask("SELECT state, undone_epoch, undone_seq FROM meter.duplicates") == [("undone", 1, 2)]


async def test_posting_again_notes_nothing_again(ledger: Ledger, ask: Ask) -> None:
    """Only a watermark that was set back by hand leads here."""
    scribe = Scribe()
    movement(scribe, "k")
    duplicate = movement(scribe, "k")
    movement(scribe, "k", "g")
    scribe.undo(duplicate)
    tables = (
        FOUND,
        "SELECT * FROM meter.first_answers ORDER BY key",
        "SELECT undone_at FROM meter.duplicates",
    )
    await post(ledger, scribe)
    before = [await ask(table) for table in tables]
    for step in (1, 2, 4):
        await ask("UPDATE meter.shards SET seq = -1 WHERE shard = %s", scribe.shard)
        for start in range(0, 4, step):
            await ledger.post({scribe.shard: scribe.entries[start : start + step]})
        assert [await ask(table) for table in tables] == before


async def test_an_audit_in_between_changes_nothing(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    movement(scribe, "k")
    scribe.audit(ALICE)
    movement(scribe, "k")
    await post(ledger, scribe)
    assert await ask(FOUND) == [(1, 2, 1, 0, "pending")]


async def test_a_released_hold_may_have_expired_before(ledger: Ledger, ask: Ask) -> None:
    """So a duplicate is undone whose hold had expired: a late commit must not charge it."""
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5, BOB: 6})
    legs = scribe.expire(hold)
    await post(ledger, scribe)
    scribe._write("release", [(account, 0, 0, n) for account, n in legs.items()], hold, late=True)
    await post(ledger, scribe, 2)
    assert await ask("SELECT DISTINCT status, late, consumed FROM meter.settled_holds") == [
        ("released", True, None)
    ]


async def test_old_answers_are_forgotten_in_chunks(ledger: Ledger, answers: Answers, ask: Ask) -> None:
    scribe = Scribe()
    for number in range(7):
        movement(scribe, f"k{number}")
    await post(ledger, scribe)
    await ask("UPDATE meter.first_answers SET recorded_at = now() - interval '31 days' WHERE key < 'k5'")
    assert [await answers.forget(30, 3) for _ in range(3)] == [3, 2, 0]
    assert await ask("SELECT key FROM meter.first_answers ORDER BY 1") == [("k5",), ("k6",)]


async def test_forgetting_waits_for_nobody(
    ledger: Ledger, answers: Answers, database: Database, ask: Ask
) -> None:
    scribe = Scribe()
    for key in "ab":
        movement(scribe, key)
    await post(ledger, scribe)
    await ask("UPDATE meter.first_answers SET recorded_at = now() - interval '31 days'")
    async with database.transaction() as connection:
        await connection.execute("SELECT FROM meter.first_answers WHERE key = 'a' FOR UPDATE")
        assert await answers.forget(30, 9) == 1
    assert await answers.forget(30, 9) == 1


async def test_the_age_of_an_epoch_begins_with_it(ledger: Ledger, answers: Answers, ask: Ask) -> None:
    await ask("UPDATE meter.shards SET opened_at = now() - interval '1 hour'")
    await renew(ledger, [7])
    ages = await answers.epoch_ages()
    assert len(ages) == 128
    assert ages[7][0] == 2
    assert 0 <= ages[7][1] < 60
    assert ages[8][0] == 1
    assert 3600 <= ages[8][1] < 3660


class Undoing:
    """An ``Undoer`` that remembers what it was asked, and fails as told."""

    def __init__(self) -> None:
        self.asked: list[Position] = []
        self.faults: dict[Position, Exception] = {}

    async def undo(self, duplicate: Duplicate) -> Position | None:
        self.asked.append(duplicate.position)
        if fault := self.faults.get(duplicate.position):
            raise fault
        return Position(1, 9) if self.asked.count(duplicate.position) == 1 else None


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.005)


async def test_upkeep_undoes_what_is_pending_until_it_is_stopped(ledger: Ledger, answers: Answers) -> None:
    scribe = Scribe()
    for _ in range(3):
        movement(scribe, "k")
    await post(ledger, scribe)
    undoer, stop = Undoing(), asyncio.Event()
    undoer.faults[Position(1, 1)] = MeterValidationError("out of range")
    with structlog.testing.capture_logs() as logs:
        work = asyncio.create_task(Upkeep(answers, undoer, keep_days=30, undo_every_s=0.01).run(stop))
        await until(lambda: undoer.asked.count(Position(1, 2)) > 1)
        stop.set()
        await work
    events = [log["event"] for log in logs]
    assert events.count("duplicate_undone") == 1
    assert events.count("duplicate_stays") > 1


async def test_upkeep_waits_while_a_database_is_away(ledger: Ledger, answers: Answers) -> None:
    scribe = Scribe()
    for _ in range(2):
        movement(scribe, "k")
    await post(ledger, scribe)
    undoer, stop = Undoing(), asyncio.Event()
    undoer.faults[Position(1, 1)] = MeterUnavailableError("away")
    with structlog.testing.capture_logs() as logs:
        work = asyncio.create_task(Upkeep(answers, undoer, keep_days=30, undo_every_s=0.01).run(stop))
        await until(lambda: len(undoer.asked) > 2)
        undoer.faults.clear()
        await until(lambda: any(log["event"] == "duplicate_undone" for log in logs) or len(undoer.asked) > 9)
        stop.set()
        await work
    assert "undo_waits" in [log["event"] for log in logs]


async def test_a_duplicate_that_cannot_be_undone_now_is_in_nobodys_way(
    ledger: Ledger, answers: Answers
) -> None:
    scribe = Scribe()
    for _ in range(3):
        movement(scribe, "k")
    await post(ledger, scribe)
    undoer = Undoing()
    undoer.faults[Position(1, 1)] = MeterUnavailableError("its shard is closed")
    upkeep, stop = Upkeep(answers, undoer, keep_days=30), asyncio.Event()
    with pytest.raises(MeterUnavailableError):
        await upkeep.undo_pending(stop)
    assert undoer.asked == [Position(1, 1), Position(1, 2)]
    stop.set()
    await upkeep.undo_pending(stop)
    assert len(undoer.asked) == 2, "whoever stops begins nothing new"


async def test_upkeep_prunes_all_there_is(ledger: Ledger, answers: Answers, ask: Ask) -> None:
    scribe = Scribe()
    movement(scribe, "k")
    await post(ledger, scribe)
    await ask("UPDATE meter.first_answers SET recorded_at = now() - interval '3 days'")
    assert not await Upkeep(answers, Undoing(), keep_days=4).prune()
    assert await ask("SELECT count(*) FROM meter.first_answers") == [(1,)]
    stop = asyncio.Event()
    work = asyncio.create_task(Upkeep(answers, Undoing(), keep_days=2).run(stop))
    async with asyncio.timeout(10):
        while await ask("SELECT FROM meter.first_answers"):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    stop.set()
    await work
