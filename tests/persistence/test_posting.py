"""What entries make of the tables, on a real Postgres."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from scribe import ALICE, BOB, MONEY, POOL, START_MS, TTL_MS, Ask, Scribe, post

from gateway.domain.amounts import MAX_SCALED
from gateway.domain.entries import Position, entry_id
from gateway.domain.names import account_text
from gateway.protocols import Extras
from persistence.errors import JournalForkError
from persistence.ledger import Ledger
from persistence.partitions import months_of

HOLDS = """
    SELECT hold_id, leg, status, amount, consumed, late, settled_at IS NOT NULL
    FROM meter.holds ORDER BY hold_id, leg
"""
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'meter.ledger'::regclass"
ENTRIES = "SELECT entry_type, amount, balance_after, reservation_id FROM meter.ledger ORDER BY entry_id"
ACCOUNTS = "SELECT account, balance, reserved FROM meter.balances ORDER BY account"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def body(**extras: Any) -> bytes:
    return msgspec.json.encode(Extras(**extras))


async def test_each_verb_books_its_kind_of_entry(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    scribe.consume(ALICE, 10)
    scribe.adjust(ALICE, -5)
    hold = scribe.reserve({ALICE: 40})
    scribe.commit(hold, 30)
    await post(ledger, scribe)
    assert await ask(ENTRIES) == [
        ("allocation", 100, 100, None),
        ("consumption", -10, 90, None),
        ("adjustment", -5, 85, None),
        ("consumption", -30, 55, hold),
    ]
    assert await ask(ACCOUNTS) == [(ALICE, 55, 0)]


async def test_an_entry_id_says_where_in_the_journal_it_was_made(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 1)
    hold = scribe.reserve({ALICE: 1, BOB: 1})
    scribe.commit(hold, 1)
    await post(ledger, scribe)
    rows = await ask("SELECT entry_id, account FROM meter.ledger ORDER BY entry_id")
    assert rows == [
        (entry_id(Position(1, 0)), ALICE),
        (entry_id(Position(1, 2), 0), ALICE),
        (entry_id(Position(1, 2), 1), BOB),
    ]


async def test_a_hold_made_and_settled_in_one_batch_is_one_row(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    committed, released = scribe.reserve({ALICE: 40}), scribe.reserve({ALICE: 5})
    extended = scribe.reserve({ALICE: 7})
    scribe.extend(extended, 3)
    scribe.commit(committed, 50)
    scribe.release(released)
    await post(ledger, scribe)
    assert await ask(HOLDS) == [
        (committed, 0, "committed", 40, 50, False, True),
        (released, 0, "released", 5, None, False, True),
        (extended, 0, "active", 10, None, False, False),
    ]


async def test_a_hold_settled_in_a_later_batch_keeps_how_it_was_made(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 40, BOB: 2}, body=body(reason="why"))
    await post(ledger, scribe)
    scribe.at_ms += 1000
    scribe.extend(hold, 5)
    await post(ledger, scribe, 1)
    assert await ask(HOLDS) == [
        (hold, 0, "active", 45, None, False, False),
        (hold, 1, "active", 7, None, False, False),
    ]
    scribe.at_ms += 1000
    scribe.commit(hold, 6, body=body(request_id="r1"))
    await post(ledger, scribe, 2)
    assert await ask(HOLDS) == [
        (hold, 0, "committed", 45, 6, False, True),
        (hold, 1, "committed", 7, 6, False, True),
    ]
    (times,) = await ask(
        "SELECT created_at, expires_at, settled_at, body::text, settled_body::text "
        "FROM meter.settled_holds WHERE leg = 0"
    )
    start = datetime.fromtimestamp(START_MS / 1000, UTC)
    assert [(time - start).total_seconds() for time in times[:3]] == [0, 1 + 2 * TTL_MS / 1000, 2]
    assert times[3:] == ('{"reason":"why"}', '{"request_id":"r1"}')
    assert await ask("SELECT count(*) FROM meter.open_holds") == [(0,)]


@pytest.mark.parametrize("together", [True, False])
async def test_a_commit_after_expiry_is_booked_late(ledger: Ledger, ask: Ask, *, together: bool) -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 40})
    await post(ledger, scribe)
    legs = scribe.expire(hold)
    if not together:
        await post(ledger, scribe, 1)
        assert await ask(HOLDS) == [(hold, 0, "expired", 40, None, False, True)]
    scribe.commit_late(hold, legs, 30)
    await post(ledger, scribe, 1 if together else 2)
    assert await ask(HOLDS) == [(hold, 0, "committed", 40, 30, True, True)]
    assert await ask(ENTRIES) == [("consumption", -30, -30, hold)]


async def test_a_commit_of_nothing_books_nothing(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 40})
    scribe.commit(hold, 0)
    await post(ledger, scribe)
    assert await ask(HOLDS) == [(hold, 0, "committed", 40, 0, False, True)]
    assert await ask(ENTRIES) == []
    assert await ask("SELECT count(*) FROM meter.usage_hourly") == [(0,)]


async def test_amounts_in_the_ledger_are_exact_decimals_of_the_unit(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(MONEY, MAX_SCALED)
    scribe.consume(MONEY, 1)
    scribe.adjust(MONEY, -1_500_000)
    await post(ledger, scribe)
    assert await ask("SELECT amount, balance_after FROM meter.ledger ORDER BY entry_id") == [
        (Decimal("9007199254.740991"), Decimal("9007199254.740991")),
        (Decimal("-0.000001"), Decimal("9007199254.740990")),
        (Decimal("-1.5"), Decimal("9007199253.240990")),
    ]
    assert await ask("SELECT scale, balance FROM meter.accounts") == [(6, MAX_SCALED - 1_500_001)]


async def test_what_the_caller_said_is_kept(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    metadata = b'{"b": "tab\\t \\\\N \\u0000 \\ud83d\\ude00", "a":[1.50, 1e400]}'
    extras = Extras(
        metadata=msgspec.Raw(metadata),
        reference_id=7,
        actor_id="admin\\bob",
        request_id="r\t1",
        on_behalf_of="line\nbreak",
        reason="\\N",
    )
    scribe.allocate(ALICE, 1, body=msgspec.json.encode(extras))
    await post(ledger, scribe)
    (row,) = await ask(
        "SELECT reference_id, actor_id, request_id, on_behalf_of, reason, metadata::text FROM meter.ledger"
    )
    assert row == (7, "admin\\bob", "r\t1", "line\nbreak", "\\N", metadata.decode())


async def test_names_of_any_characters_are_kept(ledger: Ledger, ask: Ask) -> None:
    parts = ("us\\er:1%", 'e"v', "u'n{i}t", "\u00a0\u200b☃ \\.")
    scribe = Scribe(namespace="a\\b $1 %s {x} ü")
    account = account_text(*parts)
    scribe.allocate(account, 5)
    hold = scribe.reserve({account: 2}, hold_id="r\\N%s")
    await post(ledger, scribe)
    assert await ask("SELECT namespace, user_id, event_type, unit, resource FROM meter.ledger") == [
        (scribe.namespace, *parts)
    ]
    assert await ask("SELECT namespace, hold_id, user_id FROM meter.open_holds") == [
        (scribe.namespace, hold, parts[0])
    ]


async def test_the_pool_has_no_user(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(POOL, 5)
    scribe.reserve({POOL: 1})
    await post(ledger, scribe)
    assert await ask("SELECT user_id, resource FROM meter.ledger") == [(None, None)]
    assert await ask("SELECT user_id FROM meter.accounts") == [(None,)]
    assert await ask("SELECT user_id FROM meter.holds") == [(None,)]


async def test_a_batch_may_cross_months_and_event_times_may_lie_anywhere(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.at_ms = at("2025-12-31T23:59:59.999")
    scribe.consume(ALICE, 1)
    scribe.at_ms += 1
    scribe.consume(ALICE, 2, body=body(event_time_ms=at("2019-02-03T04:05:06.007")))
    scribe.consume(ALICE, 3, body=body(event_time_ms=at("2031-01-01T00:00:00")))
    scribe.at_ms = at("2026-03-01T00:00:00")
    scribe.consume(ALICE, 4)
    await post(ledger, scribe)
    rows = await ask(
        "SELECT tableoid::regclass::text, amount::int, event_time AT TIME ZONE 'UTC' FROM meter.ledger "
        "ORDER BY entry_id"
    )
    assert rows == [
        ("meter.ledger_2025_12", -1, datetime.fromisoformat("2025-12-31T23:59:59.999")),
        ("meter.ledger_2026_01", -2, datetime.fromisoformat("2019-02-03T04:05:06.007")),
        ("meter.ledger_2026_01", -3, datetime.fromisoformat("2031-01-01")),
        ("meter.ledger_2026_03", -4, datetime.fromisoformat("2026-03-01")),
    ]
    made = await ask(PARTITIONS)
    months = ["2025_12", "2026_01", "2026_02", "2026_03", "2026_04"]
    assert sorted(made) == [(f"meter.ledger_{month}",) for month in months]


def test_months_are_those_of_utc_and_the_next() -> None:
    def texts(*times: str) -> list[str]:
        return [month.isoformat() for month in sorted(months_of(map(at, times)))]

    assert texts("2024-01-31T23:59:59.999") == ["2024-01-01", "2024-02-01"]
    assert texts("2024-12-01T00:00:00") == ["2024-12-01", "2025-01-01"]
    assert texts("1969-12-31T23:59:59.999") == ["1969-12-01", "1970-01-01"]
    assert texts() == []


async def test_usage_is_summed_by_hour_of_event_time(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 1000)
    for amount in (1, 2):
        scribe.consume(ALICE, amount)
    scribe.consume(MONEY, 2_500_000)
    await post(ledger, scribe)
    earlier = body(event_time_ms=at("2025-11-19T23:59:59.999"))
    scribe.consume(ALICE, 4, body=earlier)
    scribe.consume(ALICE, 8)
    await post(ledger, scribe, 4)
    rows = await ask(
        "SELECT account, to_char(hour AT TIME ZONE 'UTC', 'MM-DD HH24:MI:SS'), entry_type, total, "
        "event_count FROM meter.usage_hourly ORDER BY account, hour, entry_type"
    )
    assert rows == [
        (ALICE, "11-19 23:00:00", "consumption", -4, 1),
        (ALICE, "11-20 00:00:00", "allocation", 1000, 1),
        (ALICE, "11-20 00:00:00", "consumption", -11, 3),
        (MONEY, "11-20 00:00:00", "consumption", Decimal("-2.5"), 1),
    ]


async def test_the_longest_names_and_the_largest_body_fit(ledger: Ledger, ask: Ask) -> None:
    deep = b"[" * 400 + b"]" * 400
    account = account_text("u" * 600, "e" * 256, "tokens", "r" * 600)
    scribe = Scribe(namespace="n" * 1024)
    metadata = b'{"deep":' + deep + b',"long":"' + b"x" * 15_000 + b'"}'
    hold = scribe.reserve({account: 5}, body=b'{"metadata":' + metadata + b"}", hold_id="h" * 64)
    scribe.commit(hold, 5, body=b'{"metadata":' + metadata + b"}")
    await post(ledger, scribe)
    assert await ask("SELECT length(metadata::text) FROM meter.ledger") == [(len(metadata),)]


@pytest.mark.parametrize("verb", ["commit", "release", "extend"])
async def test_a_change_of_a_hold_the_ledger_never_saw_is_a_fork(ledger: Ledger, ask: Ask, verb: str) -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5})
    if verb == "extend":
        scribe.extend(hold, 1)
    elif verb == "commit":
        scribe.commit(hold, 5)
    else:
        scribe.release(hold)
    (entry,) = scribe.since(1)
    moved = replace(entry, position=Position(1, 0))
    with pytest.raises(JournalForkError, match=f"hold {hold} as .*as nothing") as raised:
        await ledger.post({scribe.shard: [moved]})
    assert raised.value.shard == scribe.shard
    assert await ask("SELECT count(*) FROM meter.ledger") == [(0,)]


@pytest.mark.parametrize("again", ["commit", "release"])
@pytest.mark.parametrize("first", ["commit", "release"])
async def test_a_hold_settles_once(ledger: Ledger, ask: Ask, first: str, again: str) -> None:
    def settle(verb: str, actual: int) -> None:
        scribe.open[hold] = {ALICE: 5}
        scribe.at_ms += 1
        if verb == "commit":
            scribe.commit(hold, actual)
        else:
            scribe.release(hold)

    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5})
    settle(first, 0)
    await post(ledger, scribe)
    before = await ask(HOLDS)
    settle(again, 0)
    with pytest.raises(
        JournalForkError, match=f"tells hold {hold} as {again}.*knows it as {first}"
    ) as raised:
        await ledger.post({scribe.shard: scribe.since(2)})
    assert raised.value.shard == scribe.shard
    assert await ask(HOLDS) == before
