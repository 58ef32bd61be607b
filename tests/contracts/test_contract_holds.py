"""Reserve, commit, release and extend: the life of a hold."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

RESERVED = {"granted", "reservation_id", "balance", "available", "expires_at", "entry_id"}
COMMITTED = {"success", "consumed", "released", "reserved_amount", "balance", "entry_id"}
DENIAL = {"reason", "denied_by", "needed", "retry_after"}
EXTENDED = {"extended", "expires_at", "reserved_amount", "available"}
RESERVATION = {
    "reservation_id",
    "status",
    "amount",
    "consumed",
    "user_id",
    "event_type",
    "unit",
    "resource",
    "legs",
    "overage",
    "created_at",
    "expires_at",
    "settled_at",
    "late",
    "actor_id",
    "request_id",
    "on_behalf_of",
    "reason",
    "metadata",
}
LEG = {"user_id", "event_type", "unit", "resource", "amount", "consumed"}


def seconds_from_now(text: str) -> float:
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


async def numbers(meter: Any) -> tuple[Decimal, Decimal, Decimal]:
    balance = await meter.get_balance("ann", "llm_call", "tokens")
    return balance["balance"], balance["reserved"], balance["available"]


async def held(meter: Any, amount: int = 40, **more: Any) -> str:
    hold = await meter.reserve("ann", "llm_call", amount, "tokens", **more)
    assert hold["granted"] is True
    return str(hold["reservation_id"])


async def expired(meter: Any, reservation_id: str) -> None:
    """Wait until the hold's time is over, by the meter's own word."""
    async with asyncio.timeout(10):
        while (await meter.get_reservation(reservation_id))["status"] != "expired":  # noqa: ASYNC110 - another process's clock
            await asyncio.sleep(0.05)


WHOSE = {"user_id": "ann", "event_type": "llm_call", "unit": "tokens", "resource": None}


@pytest.fixture
async def funded(meter: Any) -> Any:
    """The facade, with 100 tokens for ann."""
    await meter.allocate("ann", "llm_call", 100, "tokens")
    return meter


async def test_reserve_holds_and_says_what_is_left(funded: Any) -> None:
    hold = await funded.reserve("ann", "llm_call", 40, "tokens")
    assert set(hold) == RESERVED
    assert hold["granted"] is True
    assert isinstance(hold["reservation_id"], str)
    assert (hold["balance"], hold["available"]) == (100, 60)
    assert hold["entry_id"] is None
    assert 290 < seconds_from_now(hold["expires_at"]) < 310
    assert await numbers(funded) == (100, 40, 60)


async def test_reserve_takes_its_ttl(funded: Any) -> None:
    for ttl_seconds in (1, 86_400):
        hold = await funded.reserve("ann", "llm_call", 1, "tokens", ttl_seconds=ttl_seconds)
        assert abs(seconds_from_now(hold["expires_at"]) - ttl_seconds) < 10


async def test_reserve_denies_what_is_not_available(funded: Any) -> None:
    await held(funded, 60)
    denied = await funded.reserve("ann", "llm_call", 41, "tokens")
    assert set(denied) == RESERVED | DENIAL
    assert denied["denied_by"] == {**WHOSE, "leg": 0, "limit": None}
    assert (denied["needed"], 290 < denied["retry_after"] <= 300) == (41, True)
    assert denied["granted"] is False
    assert denied["reason"] == "balance"
    assert denied["reservation_id"] is denied["expires_at"] is denied["entry_id"] is None
    assert (denied["balance"], denied["available"]) == (100, 40)
    assert (await funded.reserve("ann", "llm_call", 40, "tokens"))["granted"] is True


async def test_reserve_on_an_untouched_account_is_denied_and_creates_nothing(meter: Any) -> None:
    denied = await meter.reserve("ann", "llm_call", 1, "tokens")
    assert (denied["granted"], denied["balance"], denied["available"]) == (False, 0, 0)
    assert await meter.get_user_balances("ann") == []
    assert (await meter.list_reservations())["reservations"] == []


@pytest.mark.parametrize(
    ("actual", "released", "balance"),
    [(25, 15, 75), (40, 0, 60), (55, 0, 45), (140, 0, -40)],
    ids=["under", "exact", "over", "below zero"],
)
async def test_commit_charges_what_was_used(funded: Any, actual: int, released: int, balance: int) -> None:
    committed = await funded.commit(await held(funded), actual)
    assert set(committed) - {"late"} == COMMITTED
    assert committed["success"] is True
    assert committed.get("late", False) is False
    assert (committed["consumed"], committed["released"]) == (actual, released)
    assert (committed["reserved_amount"], committed["balance"]) == (40, balance)
    assert await numbers(funded) == (balance, 0, balance)
    newest = (await funded.get_ledger("ann", "llm_call", "tokens"))[0]
    assert (newest["id"], newest["amount"]) == (committed["entry_id"], -actual)


async def test_commit_of_nothing_frees_the_hold_and_writes_no_entry(funded: Any) -> None:
    committed = await funded.commit(await held(funded), 0)
    assert set(committed) - {"late"} == COMMITTED
    assert committed["success"] is True
    assert committed["entry_id"] is None
    assert (committed["consumed"], committed["released"], committed["balance"]) == (0, 40, 100)
    assert await numbers(funded) == (100, 0, 100)
    assert len(await funded.get_ledger("ann", "llm_call", "tokens")) == 1


@pytest.mark.parametrize("first", ["committed", "released"])
async def test_a_hold_is_settled_once(funded: Any, first: str) -> None:
    reservation_id = await held(funded)
    if first == "committed":
        await funded.commit(reservation_id, 30)
    else:
        assert await funded.release(reservation_id) is True
    before = await numbers(funded)
    again = await funded.commit(reservation_id, 30)
    assert set(again) - {"late"} == COMMITTED | {"reason"}
    assert again["success"] is False
    assert again["reason"] == first
    assert all(again[part] is None for part in COMMITTED - {"success"})
    assert await funded.release(reservation_id) is False
    extended = await funded.extend(reservation_id, ttl_seconds=60)
    assert (extended["extended"], extended["reason"]) == (False, first)
    assert await numbers(funded) == before


@pytest.mark.parametrize("reservation_id", ["rsv_0_doesnotexist", "nonsense", "réservé", "0"])
async def test_an_unknown_hold_is_an_answer(funded: Any, reservation_id: str) -> None:
    refused = await funded.commit(reservation_id, 1)
    assert (refused["success"], refused["reason"]) == (False, "not_found")
    assert await funded.release(reservation_id) is False
    extended = await funded.extend(reservation_id, ttl_seconds=60)
    assert set(extended) == EXTENDED | {"reason"}
    assert (extended["extended"], extended["reason"]) == (False, "not_found")
    assert await funded.get_reservation(reservation_id) is None


async def test_release_gives_everything_back(funded: Any) -> None:
    assert await funded.release(await held(funded)) is True
    assert await numbers(funded) == (100, 0, 100)
    assert len(await funded.get_ledger("ann", "llm_call", "tokens")) == 1


async def test_extend_lengthens(funded: Any) -> None:
    reservation_id = await held(funded, ttl_seconds=60)
    extended = await funded.extend(reservation_id, ttl_seconds=3600)
    assert set(extended) == EXTENDED
    assert extended["extended"] is True
    assert 3590 < seconds_from_now(extended["expires_at"]) < 3610
    assert (extended["reserved_amount"], extended["available"]) == (40, 60)
    assert (await funded.get_reservation(reservation_id))["expires_at"] == extended["expires_at"]


async def test_extend_enlarges_and_commit_settles_the_whole(funded: Any) -> None:
    hold = await funded.reserve("ann", "llm_call", 40, "tokens")
    extended = await funded.extend(hold["reservation_id"], amount=25)
    assert extended["extended"] is True
    assert extended["expires_at"] == hold["expires_at"]
    assert (extended["reserved_amount"], extended["available"]) == (65, 35)
    assert await numbers(funded) == (100, 65, 35)
    committed = await funded.commit(hold["reservation_id"], 50)
    assert (committed["reserved_amount"], committed["released"], committed["balance"]) == (65, 15, 50)


async def test_extend_is_denied_beyond_what_is_available_and_changes_nothing(funded: Any) -> None:
    hold = await funded.reserve("ann", "llm_call", 40, "tokens")
    denied = await funded.extend(hold["reservation_id"], ttl_seconds=3600, amount=61)
    assert set(denied) == EXTENDED | DENIAL
    assert (denied["extended"], denied["reason"]) == (False, "balance")
    assert (await funded.get_reservation(hold["reservation_id"]))["expires_at"] == hold["expires_at"]
    assert await numbers(funded) == (100, 40, 60)


async def test_what_has_expired_is_available_again(funded: Any) -> None:
    reservation_id = await held(funded, 100, ttl_seconds=2)
    assert (await funded.reserve("ann", "llm_call", 100, "tokens"))["granted"] is False
    await expired(funded, reservation_id)
    assert (await funded.reserve("ann", "llm_call", 100, "tokens"))["granted"] is True
    assert await funded.release(reservation_id) is False
    extended = await funded.extend(reservation_id, ttl_seconds=60)
    assert (extended["extended"], extended["reason"]) == (False, "expired")


async def test_a_late_commit_is_charged_and_says_so(funded: Any) -> None:
    reservation_id = await held(funded, ttl_seconds=1)
    await expired(funded, reservation_id)
    committed = await funded.commit(reservation_id, 30)
    assert committed["success"] is True
    assert committed["late"] is True
    assert (committed["consumed"], committed["reserved_amount"], committed["balance"]) == (30, 40, 70)
    assert await numbers(funded) == (70, 0, 70)
    settled = await funded.get_reservation(reservation_id)
    assert (settled["status"], settled["late"], settled["consumed"]) == ("committed", True, 30)


async def test_release_expired_reservations_leaves_none(funded: Any) -> None:
    holds = [await held(funded, 10, ttl_seconds=1) for _ in range(3)]
    kept = await held(funded, 10, ttl_seconds=600)
    for reservation_id in holds:
        await expired(funded, reservation_id)
    # The sweeper may have been there first: what counts is that nothing expired is held afterwards.
    count = await funded.release_expired_reservations()
    assert type(count) is int
    assert 0 <= count <= 3
    assert await numbers(funded) == (100, 10, 90)
    assert await funded.release_expired_reservations() == 0
    listed = await funded.list_reservations(status="expired")
    assert {hold["reservation_id"] for hold in listed["reservations"]} == set(holds)
    assert (await funded.get_reservation(kept))["status"] == "active"


async def test_get_reservation_shows_the_whole_hold(funded: Any) -> None:
    hold = await funded.reserve("ann", "llm_call", 40, "tokens", metadata={"model": "m", "n": [1, 2.5, None]})
    shown = await funded.get_reservation(hold["reservation_id"])
    assert set(shown) == RESERVATION
    assert shown["reservation_id"] == hold["reservation_id"]
    assert shown["expires_at"] == hold["expires_at"]
    assert (shown["status"], shown["amount"], shown["consumed"], shown["late"]) == ("active", 40, None, False)
    assert (shown["user_id"], shown["event_type"], shown["unit"], shown["resource"]) == (
        "ann",
        "llm_call",
        "tokens",
        None,
    )
    assert shown["settled_at"] is None
    assert shown["metadata"] == {"model": "m", "n": [1, 2.5, None]}
    assert -10 < seconds_from_now(shown["created_at"]) < 1
    [leg] = shown["legs"]
    assert set(leg) == LEG
    assert (leg["user_id"], leg["amount"], leg["consumed"]) == ("ann", 40, None)


async def test_get_reservation_shows_how_it_ended(funded: Any) -> None:
    committed, released = await held(funded), await held(funded)
    await funded.commit(committed, 12)
    await funded.release(released)
    first, second = await funded.get_reservation(committed), await funded.get_reservation(released)
    assert (first["status"], first["consumed"], first["legs"][0]["consumed"]) == ("committed", 12, 12)
    assert (second["status"], second["consumed"]) == ("released", None)
    for shown in (first, second):
        assert shown["amount"] == 40
        assert timedelta(0) <= datetime.fromisoformat(shown["settled_at"]) - datetime.fromisoformat(
            shown["created_at"]
        )


async def test_list_reservations_filters_and_orders(funded: Any) -> None:
    await funded.allocate("bob", "llm_call", 100, "tokens")
    first, second, third = [await held(funded, 10) for _ in range(3)]
    bobs = (await funded.reserve("bob", "llm_call", 10, "tokens"))["reservation_id"]
    await funded.commit(first, 5)
    await funded.release(second)

    async def listed(**filters: Any) -> list[str]:
        page = await funded.list_reservations(**filters)
        assert set(page) == {"reservations", "next_cursor", "as_of"}
        assert page["next_cursor"] is None
        return [hold["reservation_id"] for hold in page["reservations"]]

    everything = await listed()
    assert set(everything) == {first, second, third, bobs}
    created = [hold["created_at"] for hold in (await funded.list_reservations())["reservations"]]
    assert created == sorted(created, reverse=True)
    assert await listed(status="committed") == [first]
    assert await listed(status="released") == [second]
    assert set(await listed(status="active")) == {third, bobs}
    assert await listed(status="expired") == []
    assert await listed(user_id="bob") == [bobs]
    assert await listed(status="active", user_id="ann") == [third]
    assert await listed(user_id="nobody") == []


async def test_a_hold_is_listed_for_the_user_of_any_leg(funded: Any) -> None:
    await funded.allocate("bob", "llm_call", 100, "tokens")
    await funded.allocate("bob", "llm_call", 100, "usd")
    also = [{"user_id": "bob"}, {"user_id": "bob", "unit": "usd", "amount": 1}]
    settled, open_one = [
        (await funded.reserve("ann", "llm_call", 10, "tokens", also=also))["reservation_id"] for _ in range(2)
    ]
    await funded.release(settled)
    for user in ("ann", "bob"):
        page = await funded.list_reservations(user_id=user)
        assert {hold["reservation_id"] for hold in page["reservations"]} == {settled, open_one}
        assert len(page["reservations"]) == 2
        for status, hold_id in (("released", settled), ("active", open_one)):
            (hold,) = (await funded.list_reservations(user_id=user, status=status))["reservations"]
            assert hold["reservation_id"] == hold_id
            assert [leg["user_id"] for leg in hold["legs"]] == ["ann", "bob", "bob"]


async def test_list_reservations_pages_through_all(funded: Any) -> None:
    holds = [await held(funded, 1) for _ in range(7)]
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page = await funded.list_reservations(limit=2, cursor=cursor)
        seen += [hold["reservation_id"] for hold in page["reservations"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert cursor is None
    assert len(seen) == len(set(seen)) == 7
    assert set(seen) == set(holds)
