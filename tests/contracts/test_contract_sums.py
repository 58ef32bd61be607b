"""What sums up: usage and its edges, totals, one account whole, references, operators' actions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import MeterValidationError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
KIND = ("llm_call", "tokens")


async def refused(act: Awaitable[Any]) -> MeterValidationError:
    with pytest.raises(MeterValidationError) as caught:
        await act
    return caught.value


async def consume(meter: Any, user: str | None, amount: Any, at: datetime | None, **more: Any) -> Any:
    return await meter.consume(user, "llm_call", amount, more.pop("unit", "tokens"), event_time=at, **more)


async def test_usage_sums_up_what_was_consumed_by_account(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 1000, "tokens", event_time=NOON)
    await consume(meter, "ann", 5, NOON)
    await consume(meter, "ann", 7, NOON + HOUR, resource="claude")
    await consume(meter, "ann", 11, NOON + 2 * HOUR, resource="claude")
    await consume(meter, "ann", "0.25", NOON, unit="usd")
    await consume(meter, "bob", 100, NOON)
    told = await meter.usage("ann", NOON, NOON + 3 * HOUR)
    assert set(told) == {"usage", "as_of"}
    assert told["usage"] == await meter.get_usage("ann", NOON, NOON + 3 * HOUR)
    assert told["usage"] == [
        {"event_type": "llm_call", "resource": None, "unit": "tokens", "total_consumed": 5, "event_count": 1},
        {
            "event_type": "llm_call",
            "resource": None,
            "unit": "usd",
            "total_consumed": Decimal("0.25"),
            "event_count": 1,
        },
        {
            "event_type": "llm_call",
            "resource": "claude",
            "unit": "tokens",
            "total_consumed": 18,
            "event_count": 2,
        },
    ]
    assert await meter.get_usage("nobody", NOON, NOON + HOUR) == []


LAST_HOUR = datetime(9999, 12, 31, 23, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "total"),
    [
        (NOON, FOREVER, 0b111),
        (LAST_HOUR, FOREVER, 0b110),
        (LAST_HOUR + 30 * MINUTE, FOREVER, 0b100),
        (NOON, LAST_HOUR + 30 * MINUTE, 0b011),
        (FOREVER, FOREVER, 0),
    ],
)
async def test_usage_may_be_asked_for_up_to_the_end_of_the_calendar(
    meter: Any, start: datetime, end: datetime, total: int
) -> None:
    for bit, at in enumerate((NOON, LAST_HOUR, FOREVER)):
        await consume(meter, "ann", 1 << bit, at)
    for lines in (await meter.get_usage("ann", start, end), await meter.get_namespace_usage(start, end)):
        assert sum(line["total_consumed"] for line in lines) == total


@pytest.mark.parametrize(
    ("start", "end", "total"),
    [
        (NOON, NOON + HOUR, 0b0011),
        (NOON, NOON + 30 * MINUTE, 0b0001),
        (NOON + 30 * MINUTE, NOON + 30 * MINUTE, 0),
        (NOON + 30 * MINUTE, NOON + 30 * MINUTE + timedelta(microseconds=1), 0b0010),
        (NOON + timedelta(microseconds=1), NOON + HOUR, 0b0010),
        (NOON + 29 * MINUTE, NOON + 3 * HOUR, 0b1110),
        (NOON - HOUR, NOON + 2 * HOUR, 0b0111),
        (NOON - HOUR, NOON + 2 * HOUR + timedelta(microseconds=1), 0b1111),
        (NOON + HOUR, NOON, 0),
    ],
)
async def test_usage_begins_with_its_start_and_ends_before_its_end(
    meter: Any, start: datetime, end: datetime, total: int
) -> None:
    for bit, minutes in enumerate((0, 30, 60, 120)):
        await consume(meter, "ann", 1 << bit, NOON + minutes * MINUTE)
    assert sum(line["total_consumed"] for line in await meter.get_usage("ann", start, end)) == total
    assert sum(line["total_consumed"] for line in await meter.get_namespace_usage(start, end)) == total


async def test_usage_reads_its_own_writes(meter: Any) -> None:
    for count in range(1, 6):
        hold = await meter.reserve("ann", "llm_call", 10, "tokens") if count > 1 else None
        if hold is None:
            await meter.allocate("ann", "llm_call", 1000, "tokens")
            await meter.consume("ann", "llm_call", 3, "tokens")
        else:
            await meter.commit(hold["reservation_id"], 3)
        now = datetime.now(UTC)
        [line] = await meter.get_usage("ann", now - 10 * MINUTE, now + 10 * MINUTE)
        assert (line["total_consumed"], line["event_count"]) == (3 * count, count)
        assert datetime.fromisoformat((await meter.usage("ann", now, now))["as_of"]) > now - MINUTE


async def test_the_usage_of_a_namespace_counts_its_users_once(meter: Any, open_facade: Any) -> None:
    other = await open_facade("another-namespace")
    await consume(other, "eve", 1000, NOON)
    for user in ("ann", "bob", "ann", None):
        await consume(meter, user, 10, NOON + MINUTE)
    told = await meter.namespace_usage(NOON, NOON + HOUR)
    assert set(told) == {"usage", "as_of"}
    assert told["usage"] == await meter.get_namespace_usage(NOON, NOON + HOUR)
    assert told["usage"] == [
        {
            "event_type": "llm_call",
            "resource": None,
            "unit": "tokens",
            "total_consumed": 40,
            "event_count": 4,
            "unique_users": 2,
        }
    ]
    assert sum(line["unique_users"] for line in await meter.get_namespace_usage(NOON, NOON + MINUTE)) == 0


@pytest.mark.parametrize(
    ("start", "end", "faults"),
    [
        (None, NOON, [("start_time", "VAL_START_TIME_NULL")]),
        (NOON, None, [("end_time", "VAL_END_TIME_NULL")]),
        (NOON.replace(tzinfo=None), NOON, [("start_time", "VAL_START_TIME_INVALID")]),
        (NOON, datetime(1960, 1, 1, tzinfo=UTC), [("end_time", "VAL_END_TIME_OUT_OF_RANGE")]),
    ],
)
async def test_a_usage_without_a_time(meter: Any, start: Any, end: Any, faults: Any) -> None:
    for error in (
        await refused(meter.get_usage("ann", start, end)),
        await refused(meter.get_namespace_usage(start, end)),
    ):
        assert [(fault.field, fault.code) for fault in error.errors] == faults


async def test_totals_of_a_namespace(meter: Any) -> None:
    empty = await meter.get_stats()
    assert {**empty, "as_of": ""} == {
        "total_accounts": 0,
        "total_ledger_entries": 0,
        "active_reservations": 0,
        "total_balance": 0,
        "total_reserved": 0,
        "units": [],
        "as_of": "",
    }
    await meter.allocate("ann", "llm_call", 100, "tokens")
    await meter.allocate("bob", "llm_call", 50, "tokens")
    await meter.allocate("bob", "llm_call", "1.5", "usd")
    await meter.reserve("ann", "llm_call", 30, "tokens")
    told = await meter.get_stats()
    assert (told["total_accounts"], told["total_ledger_entries"], told["active_reservations"]) == (3, 3, 1)
    assert (told["total_balance"], told["total_reserved"]) == (Decimal("151.5"), 30)
    assert told["units"] == [
        {"unit": "tokens", "accounts": 2, "balance": 150, "reserved": 30, "available": 120},
        {"unit": "usd", "accounts": 1, "balance": Decimal("1.5"), "reserved": 0, "available": Decimal("1.5")},
    ]


async def test_one_account_whole(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens", resource="claude")
    await meter.reserve("ann", "llm_call", 30, "tokens", resource="claude")
    told = await meter.get_account("ann", *KIND, "claude")
    assert {name: told[name] for name in ("user_id", "event_type", "unit", "resource")} == {
        "user_id": "ann",
        "event_type": "llm_call",
        "unit": "tokens",
        "resource": "claude",
    }
    numbers = ("balance", "reserved", "available", "active_reservations")
    assert [told[name] for name in numbers] == [100, 30, 70, 1]
    assert told["created_at"] <= told["updated_at"] <= told["as_of"]


async def test_an_account_that_does_not_exist(meter: Any, open_facade: Any) -> None:
    other = await open_facade("another-namespace")
    await other.allocate("eve", *KIND[:1], 1, "tokens")
    for user in ("nobody", "eve", None):
        error = await refused(meter.get_account(user, *KIND))
        assert (error.code, error.status) == ("DATA_ACCOUNT_NOT_FOUND", 404)


async def test_a_correction_and_what_it_corrects_name_each_other(meter: Any) -> None:
    consumed = (await meter.consume("ann", "llm_call", 30, "tokens"))["entry_id"]
    fixes = [
        (await meter.adjust("ann", "llm_call", 10, "tokens", reference_id=consumed))["entry_id"]
        for _ in range(2)
    ]
    second, first, corrected = await meter.get_ledger("ann", *KIND)
    assert (second["reference_id"], first["reference_id"]) == (consumed, consumed)
    assert (corrected["id"], corrected["referenced_by"]) == (consumed, fixes)
    assert (first["referenced_by"], corrected["reference_id"]) == ([], None)


async def test_a_correction_of_what_does_not_exist(meter: Any, open_facade: Any) -> None:
    other = await open_facade("another-namespace")
    foreign = (await other.consume("ann", "llm_call", 30, "tokens"))["entry_id"]
    own = (await meter.consume("ann", "llm_call", 30, "tokens"))["entry_id"]
    missing = [own + 1, own + 16, 1, 2**53 - 1]
    for reference in missing if foreign == own else [foreign, *missing]:
        error = await refused(meter.adjust("ann", "llm_call", 10, "tokens", reference_id=reference))
        assert [(fault.field, fault.code) for fault in error.errors] == [
            ("reference_id", "VAL_REFERENCE_NOT_FOUND")
        ]
        assert error.status == 422
    assert (await meter.get_balance("ann", *KIND))["balance"] == -30
    results = await meter.batch(
        [
            {
                "op": "adjust",
                "user_id": "ann",
                "event_type": "llm_call",
                "unit": "tokens",
                "amount": 1,
                "reference_id": reference,
            }
            for reference in (own, own + 1)
        ]
    )
    assert [_code(result) for result in results] == [None, "VAL_REFERENCE_NOT_FOUND"]


def _code(result: Any) -> Any:
    problem = getattr(result, "code", None)
    return result.get("code") if isinstance(result, dict) else problem


async def test_operators_actions_are_listed(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 10, "tokens")
    assert await meter.get_audit_events() == []
    await meter.reconciled()
    assert await meter.get_audit_events() == [], "a reconcile that repairs nothing is no action"
    reports = [(await meter.reconciled(repair=True))["report_id"] for _ in range(3)]
    events = await meter.get_audit_events()
    assert [event["details"]["report_id"] for event in events] == reports[::-1]
    assert {event["action"] for event in events} == {"reconcile"}
    seen, cursor = [], None
    for _ in range(3):
        page = await meter.audit_events(limit=1, cursor=cursor)
        seen += page["events"]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (events, None)
    assert [event["details"]["report_id"] for event in await meter.get_audit_events(limit=2)] == reports[
        :0:-1
    ]


@pytest.mark.parametrize(
    ("arguments", "field", "code"),
    [
        ({"limit": 0}, "limit", "VAL_NOT_POSITIVE"),
        ({"limit": 10_001}, "limit", "VAL_LIMIT_TOO_LARGE"),
        ({"cursor": "nonsense"}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": "WzVd"}, "cursor", "VAL_CURSOR_INVALID"),
    ],
)
async def test_actions_that_cannot_be_listed(
    meter: Any, arguments: dict[str, Any], field: str, code: str
) -> None:
    error = await refused(meter.audit_events(**arguments))
    assert [(fault.field, fault.code) for fault in error.errors] == [(field, code)]


async def test_a_window_of_the_ledger_is_paged(meter: Any) -> None:
    made = []
    for minute in range(6):
        amount = minute + 1
        await meter.allocate("ann", "llm_call", 100, "tokens", event_time=NOON - HOUR)
        own = NOON + minute * MINUTE if minute % 2 else None
        made.append((await consume(meter, "ann", amount, own))["entry_id"])
    window: dict[str, Any] = {"start_time": NOON, "limit": 2}
    seen: list[int] = []
    read: Callable[..., Awaitable[Any]] = meter.ledger
    page = await read("ann", *KIND, **window)
    while True:
        seen += [entry["id"] for entry in page["entries"]]
        if page["next_cursor"] is None:
            break
        page = await read("ann", *KIND, **window, cursor=page["next_cursor"])
    assert seen == made[::-1]
