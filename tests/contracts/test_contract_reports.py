"""What the ledger shows: entries, order, paging, balances of a user, and reconcile."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.domain.cursors import write_cursor
from gateway.errors import MeterValidationError

ENTRY = {
    "id",
    "entry_type",
    "amount",
    "balance_after",
    "event_time",
    "created_at",
    "user_id",
    "event_type",
    "unit",
    "resource",
    "reservation_id",
    "reference_id",
    "referenced_by",
    "actor_id",
    "request_id",
    "on_behalf_of",
    "reason",
    "metadata",
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_the_ledger_tells_everything_newest_first(meter: Any) -> None:
    where = ("ann", "llm_call", "tokens", "claude")
    allocated = await meter.allocate("ann", "llm_call", 100, "tokens", resource="claude")
    hold = await meter.reserve("ann", "llm_call", 40, "tokens", resource="claude")
    committed = await meter.commit(hold["reservation_id"], 25, metadata={"model": "m"})
    consumed = await meter.consume("ann", "llm_call", 5, "tokens", resource="claude")
    adjusted = await meter.adjust(
        "ann", "llm_call", 25, "tokens", resource="claude", reference_id=committed["entry_id"]
    )
    entries = await meter.get_ledger(*where)
    assert all(set(entry) == ENTRY for entry in entries)
    assert [entry["entry_type"] for entry in entries] == [
        "adjustment",
        "consumption",
        "consumption",
        "allocation",
    ]
    assert [entry["id"] for entry in entries] == [
        adjusted["entry_id"],
        consumed["entry_id"],
        committed["entry_id"],
        allocated["entry_id"],
    ]
    assert [entry["amount"] for entry in entries] == [25, -5, -25, 100]
    assert [entry["balance_after"] for entry in entries] == [95, 70, 75, 100]
    assert [entry["reservation_id"] for entry in entries] == [None, None, hold["reservation_id"], None]
    assert [entry["reference_id"] for entry in entries] == [committed["entry_id"], None, None, None]
    assert [entry["metadata"] for entry in entries] == [None, None, {"model": "m"}, None]
    for entry in entries:
        assert (entry["user_id"], entry["event_type"], entry["unit"], entry["resource"]) == where
        assert isinstance(entry["amount"], Decimal)
        assert abs(datetime.fromisoformat(entry["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
        assert entry["event_time"] == entry["created_at"]


async def test_an_entry_keeps_the_time_it_was_given(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 1, "tokens", event_time=NOON)
    [entry] = await meter.get_ledger("ann", "llm_call", "tokens")
    assert datetime.fromisoformat(entry["event_time"]) == NOON
    assert entry["event_time"].endswith("Z")
    assert datetime.fromisoformat(entry["created_at"]) != NOON


async def test_the_ledger_filters_by_time_from_start_to_before_end(meter: Any) -> None:
    for hours in range(4):
        await meter.allocate("ann", "llm_call", hours + 1, "tokens", event_time=NOON + timedelta(hours=hours))

    async def amounts(**filters: Any) -> list[int]:
        entries = await meter.get_ledger("ann", "llm_call", "tokens", **filters)
        return sorted(int(entry["amount"]) for entry in entries)

    assert await amounts() == [1, 2, 3, 4]
    assert await amounts(start_time=NOON + timedelta(hours=1)) == [2, 3, 4]
    assert await amounts(end_time=NOON + timedelta(hours=1)) == [1]
    assert await amounts(start_time=NOON, end_time=NOON + timedelta(hours=3)) == [1, 2, 3]
    assert await amounts(start_time=NOON + timedelta(hours=2), end_time=NOON + timedelta(hours=2)) == []


async def test_the_ledger_pages_by_cursor(meter: Any) -> None:
    made = [(await meter.allocate("ann", "llm_call", 1, "tokens"))["entry_id"] for _ in range(7)]
    assert [entry["id"] for entry in await meter.get_ledger("ann", "llm_call", "tokens", limit=2)] == made[
        :-3:-1
    ]
    seen: list[int] = []
    cursor = None
    for _ in range(4):
        page = await meter.ledger("ann", "llm_call", "tokens", limit=2, cursor=cursor)
        assert set(page) == {"entries", "next_cursor", "as_of"}
        seen += [entry["id"] for entry in page["entries"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert cursor is None
    assert seen == made[::-1]


async def test_a_page_that_is_just_full_is_the_last_or_is_followed_by_an_empty_one(meter: Any) -> None:
    for _ in range(2):
        await meter.allocate("ann", "llm_call", 1, "tokens")
    page = await meter.ledger("ann", "llm_call", "tokens", limit=2)
    assert len(page["entries"]) == 2
    if page["next_cursor"] is not None:
        after = await meter.ledger("ann", "llm_call", "tokens", cursor=page["next_cursor"])
        assert (after["entries"], after["next_cursor"]) == ([], None)


async def test_paging_is_not_disturbed_by_what_comes_after(meter: Any) -> None:
    made = [(await meter.allocate("ann", "llm_call", 1, "tokens"))["entry_id"] for _ in range(4)]
    first = await meter.ledger("ann", "llm_call", "tokens", limit=2)
    await meter.allocate("ann", "llm_call", 1, "tokens")
    second = await meter.ledger("ann", "llm_call", "tokens", limit=2, cursor=first["next_cursor"])
    assert [entry["id"] for entry in first["entries"] + second["entries"]] == made[::-1]


async def test_balance_after_is_an_unbroken_chain(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 50, "tokens")
    for used in (3, 9, 0, 14):
        hold = await meter.reserve("ann", "llm_call", 10, "tokens")
        await meter.commit(hold["reservation_id"], used)
    entries = (await meter.get_ledger("ann", "llm_call", "tokens"))[::-1]
    balance = Decimal(0)
    for entry in entries:
        balance += entry["amount"]
        assert entry["balance_after"] == balance
    assert balance == (await meter.get_balance("ann", "llm_call", "tokens"))["balance"] == 24


async def test_a_user_has_all_its_accounts_listed(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens", resource="claude")
    await meter.allocate("ann", "llm_call", "1.5", "usd")
    await meter.allocate("bob", "llm_call", 7, "tokens")
    await meter.allocate(None, "llm_call", 9, "tokens")
    await meter.reserve("ann", "llm_call", 30, "tokens", resource="claude")
    listed = await meter.get_user_balances("ann")
    assert sorted(listed, key=lambda account: account["unit"]) == [
        {
            "event_type": "llm_call",
            "resource": "claude",
            "unit": "tokens",
            "balance": 100,
            "reserved": 30,
            "available": 70,
        },
        {
            "event_type": "llm_call",
            "resource": None,
            "unit": "usd",
            "balance": Decimal("1.5"),
            "reserved": 0,
            "available": Decimal("1.5"),
        },
    ]
    [pool] = await meter.get_user_balances(None)
    assert pool["balance"] == 9
    assert await meter.get_user_balances("nobody") == []


async def test_reports_read_their_own_writes(meter: Any) -> None:
    for count in range(1, 11):
        await meter.allocate("ann", "llm_call", 1, "tokens")
        assert len(await meter.get_ledger("ann", "llm_call", "tokens")) == count
        [account] = await meter.get_user_balances("ann")
        assert account["balance"] == count


async def test_reconcile_finds_nothing_wrong(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens")
    await meter.commit((await meter.reserve("ann", "llm_call", 9, "tokens"))["reservation_id"], 4)
    await meter.reserve("ann", "llm_call", 9, "tokens")
    assert await meter.reconcile() == []


async def test_reconcile_in_pages_and_what_is_stored_of_it(meter: Any) -> None:
    for user in ("ann", "bob", "cid"):
        await meter.allocate(user, "llm_call", 100, "tokens")
    first = await meter.reconciled(limit=2)
    assert (first["discrepancies"], first["accounts_checked"], first["repaired"]) == ([], 2, 0)
    last = await meter.reconciled(limit=2, cursor=first["next_cursor"])
    assert (last["accounts_checked"], last["next_cursor"]) == (1, None)
    assert last["report_id"] == first["report_id"]
    assert (await meter.reconciled(repair=True, trust="redis", deep=True))["accounts_checked"] == 3
    page = await meter.reconciliations(limit=1)
    [newest] = page["reconciliations"]
    assert (newest["trust"], newest["accounts_checked"], newest["findings"]) == ("redis", 3, 0)
    page = await meter.reconciliations(cursor=page["next_cursor"])
    [older] = page["reconciliations"]
    assert (older["id"], older["accounts_checked"]) == (first["report_id"], 3)
    assert (older["trigger"], older["trust"], older["discrepancies"]) == ("api", None, [])
    assert page["next_cursor"] is None


async def test_no_page_of_a_reconcile_goes_past_its_report(
    meter: Any, open_facade: Any, namespace: str
) -> None:
    other = await open_facade(f"{namespace}-other")
    for whose in (meter, other):
        await whose.allocate("ann", "llm_call", 100, "tokens")
        await whose.allocate("bob", "llm_call", 100, "tokens")
    looked = await meter.reconciled(limit=1)
    made_up = write_cursor((2**63 - 1, "ann:llm_call:tokens:"))
    for whose, cursor, repair in (
        (other, looked["next_cursor"], False),
        (meter, made_up, False),
        (meter, looked["next_cursor"], True),
    ):
        with pytest.raises(MeterValidationError) as caught:
            await whose.reconciled(repair=repair, cursor=cursor)
        assert [fault[:2] for fault in caught.value.errors] == [("cursor", "VAL_CURSOR_INVALID")]
    repaired = await meter.reconciled(repair=True, limit=1)
    last = await meter.reconciled(repair=True, cursor=repaired["next_cursor"])
    assert (last["report_id"], last["accounts_checked"]) == (repaired["report_id"], 1)
    late = await meter.reconciled(repair=True, cursor=repaired["next_cursor"])
    assert late["report_id"] > last["report_id"]
    stored = (await meter.reconciliations())["reconciliations"]
    assert [(one["id"], one["trust"], one["accounts_checked"]) for one in stored] == [
        (late["report_id"], "ledger", 1),
        (last["report_id"], "ledger", 2),
        (looked["report_id"], None, 1),
    ]
    assert (await other.reconciliations())["reconciliations"] == []


@pytest.mark.parametrize(
    ("arguments", "field", "code"),
    [
        ({"trust": "me"}, "trust", "VAL_TRUST_INVALID"),
        ({"limit": 0}, "limit", "VAL_NOT_POSITIVE"),
        ({"limit": 10_001}, "limit", "VAL_LIMIT_TOO_LARGE"),
        ({"cursor": "WzVd"}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": "WzUsImEiXQ"}, "cursor", "VAL_CURSOR_INVALID"),
    ],
)
async def test_a_reconcile_that_cannot_be(
    meter: Any, arguments: dict[str, Any], field: str, code: str
) -> None:
    with pytest.raises(MeterValidationError) as caught:
        await meter.reconciled(**arguments)
    assert [(fault.field, fault.code) for fault in caught.value.errors] == [(field, code)]


async def test_actors_are_written_down(meter: Any) -> None:
    meter.set_actor("user:bob", request_id="req-1", on_behalf_of="kundin:ärmel", reason="deploy: v1.2 %")
    await meter.allocate("ann", "llm_call", 10, "tokens")
    hold = await meter.reserve("ann", "llm_call", 5, "tokens")
    meter.set_actor("agent:7")
    await meter.commit(hold["reservation_id"], 5)
    meter.clear_actor()
    await meter.consume("ann", "llm_call", 1, "tokens")
    entries = await meter.get_ledger("ann", "llm_call", "tokens")
    parts = ("actor_id", "request_id", "on_behalf_of", "reason")
    assert [tuple(entry[part] for part in parts) for entry in entries] == [
        (None, None, None, None),
        ("agent:7", None, None, None),
        ("user:bob", "req-1", "kundin:ärmel", "deploy: v1.2 %"),
    ]
    shown = await meter.get_reservation(hold["reservation_id"])
    assert tuple(shown[part] for part in parts) == ("user:bob", "req-1", "kundin:ärmel", "deploy: v1.2 %")


async def test_every_verb_that_books_says_who_acted(meter: Any) -> None:
    account, kind = ("ann", "llm_call", "tokens", None), ("ann", "llm_call")
    acts = {
        "allocation": lambda: meter.allocate(*kind, 100, "tokens"),
        "consumption": lambda: meter.consume(*kind, 1, "tokens"),
        "adjustment": lambda: meter.adjust(*kind, -1, "tokens"),
        "allocation of a period": lambda: meter.open_period(*account, date(2026, 1, 1), 7),
        "expiration": lambda: meter.close_period(*account, date(2026, 1, 31)),
    }
    await meter.set_period_config(*account, date(2026, 1, 1), 10, 5)
    for name, act in acts.items():
        meter.set_actor(f"actor of the {name}", reason="so")
        await act()
    entries = await meter.get_ledger("ann", "llm_call", "tokens")
    assert [(entry["actor_id"], entry["reason"]) for entry in reversed(entries)] == [
        (f"actor of the {name}", "so") for name in acts
    ]


async def test_what_time_and_a_schedule_bring_about_names_the_meter_itself(meter: Any) -> None:
    account = ("ann", "llm_call", "tokens", None)
    meter.set_actor("user:bob", reason="chat")
    await meter.set_period_config(*account, date(2026, 1, 1), 100, 0, every="366 days")
    hold = await meter.reserve("ann", "llm_call", 60, "tokens")
    await meter.close_period(*account, date(2026, 12, 31))
    await meter.release(hold["reservation_id"])
    entries = await meter.get_ledger("ann", "llm_call", "tokens")
    assert [tuple(entry[said] for said in ("amount", "actor_id", "reason")) for entry in entries] == [
        (-60, "quotagate", "carry_over_limit"),
        (-40, "user:bob", "chat"),
        (100, "quotagate", "schedule"),
    ]
    assert (await meter.get_reservation(hold["reservation_id"]))["actor_id"] == "user:bob"
