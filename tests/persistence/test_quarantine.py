"""What cannot be booked as it stands: it goes to quarantine, the rest is booked, and nobody waits for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from poison import FAR_MS, unreadable
from scribe import ALICE, BOB, Ask, Scribe, namespace_in, post
from structlog.testing import capture_logs

from gateway.domain.entries import Entry, Position
from gateway.protocols import Extras
from persistence.cases import Place, Quarantine
from persistence.database import Database
from persistence.errors import HoldMisfitError, JournalForkError, JournalGapError, PostingRefusedError
from persistence.ledger import Ledger
from persistence.queries import Queries

ROWS = "SELECT seq::int, booked, hold_id, convert_from(body, 'UTF8') FROM meter.quarantine ORDER BY seq"
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'meter.ledger'::regclass"


async def states(ask: Ask) -> dict[str, tuple[int, int]]:
    rows = await ask("SELECT account, balance, reserved FROM meter.balances")
    return {account: (balance, reserved) for account, balance, reserved in rows}


def known(scribe: Scribe) -> dict[str, tuple[int, int]]:
    return {account: (scribe.balances[account], scribe.reserved[account]) for account in scribe.balances}


BAD_BODIES = [
    b"{",
    b'{"reference_id":"x"}',
    b'{"event_time_ms":99999999999999999}',
    b'{"reference_id":9223372036854775808}',
    b'{"reason":"nul \\u0000"}',
    b'{"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: body[:20].decode())
async def test_an_entry_with_a_bad_body_is_booked_without_it(ledger: Ledger, ask: Ask, body: bytes) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    scribe.consume(ALICE, 30, body=body)
    scribe.consume(ALICE, 1, body=msgspec.json.encode(Extras(reason="good")))
    with capture_logs() as logs:
        await post(ledger, scribe)
    assert await ask(
        "SELECT amount::int, balance_after::int, reason FROM meter.ledger ORDER BY entry_id"
    ) == [
        (100, 100, None),
        (-30, 70, None),
        (-1, 69, "good"),
    ]
    assert await states(ask) == known(scribe)
    assert await ask(ROWS) == [(1, "without_body", "", body.decode())]
    assert [log["entry"] for log in logs if log["event"] == "entry_quarantined"] == ["1-1"]
    assert await ledger.faults() == ([], 1)


@pytest.mark.parametrize("verb", ["reserve", "commit", "release"])
async def test_a_hold_with_a_bad_body_is_still_a_hold(ledger: Ledger, ask: Ask, verb: str) -> None:
    bad = b'{"metadata":'
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5, BOB: 7}, body=bad if verb == "reserve" else b"")
    if verb == "release":
        scribe.release(hold, body=bad)
    else:
        scribe.commit(hold, 3, body=bad if verb == "commit" else b"")
    await post(ledger, scribe)
    status = "released" if verb == "release" else "committed"
    assert await ask("SELECT DISTINCT hold_id, status FROM meter.holds") == [(hold, status)]
    assert [row[1:3] for row in await ask(ROWS)] == [("without_body", hold)]
    assert await states(ask) == known(scribe)


async def test_an_unreadable_entry_is_passed_and_makes_no_partition(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.entries = [unreadable(scribe.allocate(ALICE, 100))]
    await post(ledger, scribe)
    assert await ask(ROWS) == [(0, "nothing", None, '{"head":"?"}')]
    assert await ask("SELECT namespace, head, reason FROM meter.quarantine") == [
        (None, b"", await reason_of(ask))
    ]
    assert "has a jump, which reconcile shows" in await reason_of(ask)
    assert await ask(PARTITIONS) == []
    scribe.consume(ALICE, 1)
    scribe.entries = scribe.since(1)
    await post(ledger, scribe)
    assert await states(ask) == {ALICE: (99, 0)}, "later entries say where the account stands"


async def reason_of(ask: Ask) -> str:
    ((reason,),) = await ask("SELECT reason FROM meter.quarantine")
    return str(reason)


def unknown_verb(entry: Entry) -> Entry:
    return replace(entry, verb="teleport")


def balance_by_a_reserve(entry: Entry) -> Entry:
    return replace(entry, verb="reserve", hold_id="odd")


@pytest.mark.parametrize("spoil", [unknown_verb, balance_by_a_reserve])
async def test_of_an_entry_nobody_understands_the_state_is_booked(
    ledger: Ledger, ask: Ask, spoil: Callable[[Entry], Entry]
) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    scribe.entries.append(spoil(scribe.entries.pop()))
    await post(ledger, scribe)
    assert await states(ask) == {ALICE: (100, 0)}
    assert await ask("SELECT count(*) FROM meter.ledger") == [(0,)]
    assert [row[:2] for row in await ask(ROWS)] == [(0, "state")]


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: replace(entry, at_ms=FAR_MS),
        lambda entry: replace(entry, legs=(replace(entry.legs[0], balance=2**63),)),
        lambda entry: replace(entry, legs=(replace(entry.legs[0], account="no account"),)),
        lambda entry: replace(entry, legs=(replace(entry.legs[0], account="a:b\0:tokens:"),)),
        lambda entry: replace(entry, legs=(replace(entry.legs[0], account="a:\udcff:tokens:"),)),
        lambda entry: replace(entry, namespace="nul\0"),
    ],
)
async def test_an_entry_no_table_takes_is_passed(
    ledger: Ledger, ask: Ask, change: Callable[[Entry], Entry]
) -> None:
    scribe = Scribe()
    scribe.allocate(BOB, 7)
    scribe.allocate(ALICE, 100)
    scribe.entries.append(change(scribe.entries.pop()))
    scribe.allocate(BOB, 7)
    await post(ledger, scribe)
    assert await states(ask) == {BOB: (14, 0)}
    assert [row[:2] for row in await ask(ROWS)] == [(1, "nothing")]


async def test_a_hold_whose_making_is_in_quarantine_may_be_settled(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5})
    scribe.entries = [unreadable(scribe.entries[0])]
    await post(ledger, scribe)
    scribe.commit(hold, 3)
    scribe.allocate(ALICE, 10)
    scribe.entries = scribe.since(1)
    await post(ledger, scribe)
    assert await ask("SELECT amount::int FROM meter.ledger ORDER BY entry_id") == [(-3,), (10,)]
    assert await states(ask) == known(scribe)
    assert [row[:3] for row in await ask(ROWS)] == [(0, "nothing", None), (1, "without_hold", hold)]


async def test_a_hold_lost_within_one_batch_may_be_settled(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5})
    scribe.entries[0] = unknown_verb(scribe.entries[0])
    scribe.allocate(BOB, 1)
    scribe.commit(hold, 3)
    await post(ledger, scribe)
    assert await states(ask) == known(scribe)
    assert [row[:3] for row in await ask(ROWS)] == [(0, "state", hold), (2, "without_hold", hold)]


async def test_another_hold_the_ledger_never_saw_is_a_fork_all_the_same(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.entries = [unknown_verb(scribe.allocate(ALICE, 5))]
    await post(ledger, scribe)
    never = scribe.reserve({ALICE: 5})
    scribe.release(never)
    scribe.entries = [replace(scribe.entries[-1], position=Position(1, 1))]
    with pytest.raises(HoldMisfitError):
        await ledger.post({scribe.shard: scribe.entries})
    assert len(await ask(ROWS)) == 1


async def test_bad_entries_anywhere_among_good_ones_are_found(ledger: Ledger, ask: Ask) -> None:
    chance = random.Random(3)
    scribe = Scribe()
    bad: dict[int, str] = {}
    for seq in range(300):
        body = b""
        if chance.random() < 0.03:
            body = chance.choice(BAD_BODIES[:5])
            bad[seq] = body.decode()
        scribe.allocate(ALICE, 1, body=body)
    await post(ledger, scribe)
    assert {seq: body for seq, _, _, body in await ask(ROWS)} == bad
    assert await ask("SELECT count(*), sum(amount) FROM meter.ledger") == [(300, Decimal(300))]
    assert await states(ask) == {ALICE: (300, 0)}


async def test_a_poison_batch_leaves_the_other_shards_alone(ledger: Ledger, ask: Ask) -> None:
    good, bad = Scribe(namespace_in(1)), Scribe(namespace_in(2))
    good.allocate(ALICE, 1)
    bad.allocate(ALICE, 1, body=b"{")
    batches = {bad.shard: bad.entries, good.shard: good.entries}
    assert await ledger.post(batches) == {1: Position(1, 0), 2: Position(1, 0)}
    assert await ask("SELECT shard FROM meter.quarantine") == [(2,)]


async def test_an_entry_in_quarantine_told_again_is_known_and_told_otherwise_is_a_fork(
    ledger: Ledger, ask: Ask
) -> None:
    scribe = Scribe()
    scribe.entries = [unreadable(scribe.allocate(ALICE, 1))]
    await post(ledger, scribe)
    await ask("UPDATE meter.shards SET seq = -1 WHERE shard = %s", scribe.shard)
    await post(ledger, scribe)
    assert len(await ask(ROWS)) == 1
    await ask("UPDATE meter.shards SET seq = -1 WHERE shard = %s", scribe.shard)
    scribe.entries[0] = replace(scribe.entries[0], body=b"other")
    with pytest.raises(JournalForkError, match="in quarantine already, with other content"):
        await ledger.post({scribe.shard: scribe.entries})


async def test_a_gap_beside_a_poison_entry_is_still_a_gap(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    for body in (b"", b"{", b""):
        scribe.allocate(ALICE, 1, body=body)
    with pytest.raises(JournalGapError):
        await ledger.post({scribe.shard: scribe.since(1)})
    assert await ask(ROWS) == []


async def test_a_month_that_was_dropped_is_no_entrys_fault(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 1)
    await post(ledger, scribe)
    await ask("DROP TABLE meter.ledger_2025_11")
    scribe.allocate(ALICE, 1)
    scribe.entries = scribe.since(1)
    await post(ledger, scribe)
    assert await ask(ROWS) == []
    assert await ask("SELECT count(*) FROM meter.ledger") == [(1,)]


async def test_a_database_that_takes_nothing_puts_nothing_into_quarantine(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 1)
    await ask("ALTER TABLE meter.accounts RENAME TO elsewhere")
    try:
        with pytest.raises(PostingRefusedError, match="does not exist"):
            await ledger.post({scribe.shard: scribe.entries})
    finally:
        await ask("ALTER TABLE meter.elsewhere RENAME TO accounts")
    assert await ask(ROWS) == []
    await post(ledger, scribe)


async def test_reconcile_shows_what_an_unreadable_entry_left_out(
    ledger: Ledger, queries: Queries, ask: Ask
) -> None:
    scribe = Scribe()
    scribe.entries = [unreadable(scribe.allocate(ALICE, 100))]
    audit = scribe.audit(ALICE)
    await post(ledger, scribe)
    found = await queries.audits(scribe.namespace, audit.position)
    assert found
    assert {mismatch.issue_type for mismatch in found} == {"balance_mismatch"}
    assert len(await ask(ROWS)) == 1


async def test_operators_see_what_is_in_quarantine_and_say_what_they_did(
    ledger: Ledger, database: Database
) -> None:
    scribe = Scribe()
    for body in (b"{", b"["):
        scribe.allocate(ALICE, 1, body=body)
    await post(ledger, scribe)
    desk = Quarantine(database)
    first, second = Place(scribe.shard, 1, 0), Place(scribe.shard, 1, 1)
    assert [str(found.place) for found in await desk.page(resolved=False, limit=10)] == [
        str(second),
        str(first),
    ]
    shown = await desk.find(first)
    assert shown is not None
    assert shown.head.decode().split()[:3] == ["allocate", str(scribe.at_ms), "acme"]
    assert shown.body == b"{"
    assert await desk.resolve(first, "adjusted by hand")
    assert not await desk.resolve(first, "again")
    assert not await desk.resolve(Place(1, 2, 3), "never there")
    assert await desk.find(Place(1, 2, 3)) is None
    assert [found.place for found in await desk.page(resolved=False, limit=10)] == [second]
    assert len(await desk.page(resolved=True, limit=10)) == 2
    assert await ledger.faults() == ([], 1)


@pytest.mark.parametrize("text", ["", "1", "1/2", "1/2-", "a/1-1", "1/1-1 ", "\u0661/1-1", "1/1--1"])
def test_what_is_no_place_is_none(text: str) -> None:
    assert Place.parse(text) is None


def test_a_place_is_read_as_it_is_written() -> None:
    place: Any = Place(17, 3, 204)
    assert Place.parse(str(place)) == place
