"""Limits and decisions, over every facade: what is refused, what is given back, what is told later."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import MeterValidationError

ALICE = ("alice", "llm_call", "tokens")
DAY = 86_400


async def with_plenty(meter: Any) -> Any:
    await meter.allocate("alice", "llm_call", 1_000_000, "tokens")
    return meter


async def reserve(meter: Any, amount: int, **more: Any) -> Any:
    return await meter.reserve("alice", "llm_call", amount, "tokens", **more)


async def used(meter: Any, *account: Any) -> dict[str, Decimal]:
    found = await meter.get_limits(*(account or ALICE))
    return {limit["name"]: limit["used"] for limit in found["limits"]}


async def test_a_rate_refuses_what_does_not_fit_and_says_why_and_when(meter: Any) -> None:
    await with_plenty(meter)
    shown = await meter.set_limit(*ALICE, "daily", "amount", 1000, DAY)
    assert [limit["name"] for limit in shown["limits"]] == ["daily"]
    granted = await reserve(meter, 600)
    (state,) = granted["limits"]
    assert (state["leg"], state["used"], state["remaining"], state["window_seconds"]) == (0, 600, 400, DAY)
    denied = await reserve(meter, 600)
    assert (denied["granted"], denied["reason"], denied["needed"]) == (False, "limit", 600)
    assert denied["denied_by"]["limit"] == "daily"
    assert denied["available"] == 400
    (refusing,) = denied["limits"]
    assert (refusing["name"], refusing["leg"], refusing["limit"], refusing["used"]) == ("daily", 0, 1000, 600)
    assert 200 * 86 < denied["retry_after"] <= 200 * 86.4
    assert (await reserve(meter, 1001))["retry_after"] is None, "waiting does not help"
    assert await used(meter) == {"daily": 600}


async def test_what_was_not_used_is_given_back(meter: Any) -> None:
    await with_plenty(meter)
    await meter.set_limit(*ALICE, "daily", "amount", 1000, DAY)
    await meter.set_limit(*ALICE, "calls", "requests", 10, DAY)
    first = await reserve(meter, 1000)
    await meter.commit(first["reservation_id"], 100)
    second = await reserve(meter, 900)
    assert second["granted"]
    await meter.release(second["reservation_id"])
    assert await used(meter) == {"daily": 100, "calls": 1}


async def test_concurrency_is_open_holds(meter: Any) -> None:
    await with_plenty(meter)
    await meter.set_limit(*ALICE, "two", "concurrency", 2)
    holds = [await reserve(meter, 1, ttl_seconds=60) for _ in range(2)]
    denied = await reserve(meter, 1)
    assert (denied["reason"], denied["denied_by"]["limit"]) == ("concurrency", "two")
    assert 50 < denied["retry_after"] <= 60
    await meter.release(holds[0]["reservation_id"])
    assert (await reserve(meter, 1))["granted"]


async def test_a_refused_leg_consumes_nothing_on_the_others(meter: Any) -> None:
    await with_plenty(meter)
    await meter.allocate(None, "llm_call", 1_000_000, "tokens")
    await meter.set_limit(*ALICE, "daily", "amount", 1000, DAY)
    await meter.set_limit(None, "llm_call", "tokens", "daily", "amount", 100, DAY)
    denied = await reserve(meter, 500, also=[{"user_id": None}])
    assert (denied["denied_by"]["leg"], denied["denied_by"]["user_id"]) == (1, None)
    checked = await meter.check("alice", "llm_call", 500, "tokens", also=[{"user_id": None}])
    assert (checked["granted"], checked["reason"]) == (False, "limit")
    assert await used(meter) == {"daily": 0}
    assert (await reserve(meter, 50, also=[{"user_id": None}]))["granted"]
    assert await used(meter, None, "llm_call", "tokens") == {"daily": 50}


async def test_consume_counts_always_and_is_refused_with_the_check(meter: Any) -> None:
    await with_plenty(meter)
    await meter.set_limit(*ALICE, "daily", "amount", 100, DAY)
    assert (await meter.consume("alice", "llm_call", 150, "tokens"))["success"]
    denied = await meter.consume("alice", "llm_call", 1, "tokens", check_balance=True)
    assert (denied["success"], denied["reason"], denied["denied_by"]["limit"]) == (False, "limit", "daily")


async def test_a_shadow_limit_is_seen_and_not_felt(meter: Any) -> None:
    await with_plenty(meter)
    await meter.set_limit(*ALICE, "tight", "amount", 10, DAY, shadow=True)
    for _ in range(3):
        assert (await reserve(meter, 8))["granted"]
    (limit,) = (await meter.get_limits(*ALICE))["limits"]
    assert (limit["shadow"], limit["used"], limit["shadow_refusals"]) == (True, 8, 2)


async def test_amounts_are_in_the_unit_and_requests_are_whole(meter: Any) -> None:
    usd = ("alice", "llm_call", "usd")
    await meter.allocate("alice", "llm_call", 5, "usd")
    await meter.set_limit(*usd, "spend", "amount", Decimal("0.5"), DAY)
    await meter.set_limit(*usd, "calls", "requests", 1, DAY)
    granted = await meter.reserve("alice", "llm_call", "0.25", "usd")
    assert {limit["name"]: limit["remaining"] for limit in granted["limits"]} == {
        "spend": Decimal("0.25"),
        "calls": 0,
    }
    denied = await meter.reserve("alice", "llm_call", "0.01", "usd")
    assert (denied["denied_by"]["limit"], denied["needed"], denied["available"]) == ("calls", 1, 0)


async def test_a_limit_is_changed_and_dropped(meter: Any) -> None:
    await with_plenty(meter)
    await meter.set_limit(*ALICE, "daily", "amount", 10, DAY)
    assert not (await reserve(meter, 11))["granted"]
    await meter.set_limit(*ALICE, "daily", "amount", 20, DAY)
    assert (await reserve(meter, 11))["granted"]
    assert await meter.delete_limit(*ALICE, "daily") is True
    assert await meter.delete_limit(*ALICE, "daily") is False
    assert (await reserve(meter, 100))["granted"]
    assert await used(meter) == {}


async def test_a_decision_is_explained_later(meter: Any) -> None:
    await with_plenty(meter)
    await meter.set_limit(*ALICE, "daily", "amount", 1000, DAY)
    await meter.set_limit(*ALICE, "two", "concurrency", 2)
    await reserve(meter, 300)
    hold = await reserve(meter, 200)
    await meter.extend(hold["reservation_id"], amount=100)
    await meter.commit(hold["reservation_id"], 250)
    decision = await meter.get_decision(hold["reservation_id"])
    (leg,) = decision["legs"]
    numbers = [leg[name] for name in ("balance", "reserved", "available", "needed")]
    assert (decision["granted"], numbers) == (True, [1_000_000, 300, 999_700, 200])
    met = {limit["name"]: (limit["used"], limit["remaining"], limit["needed"]) for limit in leg["limits"]}
    assert met == {"daily": (300, 700, 200), "two": (1, 1, 1)}
    assert await meter.get_decision("rsv_0_" + "0" * 24) is None
    assert await meter.get_decision("nonsense") is None


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"per": "hour"}, "per", "VAL_PER_INVALID"),
        ({"limit": 0}, "limit", "VAL_NOT_POSITIVE"),
        ({"limit": "0.5"}, "limit", "VAL_TOO_PRECISE"),
        ({"limit": None}, "limit", "VAL_LIMIT_NULL"),
        ({"window_seconds": 0}, "window_seconds", "VAL_WINDOW_OUT_OF_RANGE"),
        ({"window_seconds": None}, "window_seconds", "VAL_WINDOW_OUT_OF_RANGE"),
        ({"window_seconds": 367 * DAY}, "window_seconds", "VAL_WINDOW_OUT_OF_RANGE"),
        ({"per": "concurrency"}, "window_seconds", "VAL_WINDOW_OUT_OF_RANGE"),
        ({"name": ""}, "name", "VAL_NAME_EMPTY"),
        ({"name": "x" * 65}, "name", "VAL_NAME_TOO_LONG"),
    ],
)
async def test_what_is_no_limit_is_refused_by_field(
    meter: Any, change: dict[str, Any], field: str, code: str
) -> None:
    wanted = {"name": "daily", "per": "amount", "limit": 10, "window_seconds": DAY} | change
    with pytest.raises(MeterValidationError) as refused:
        await meter.set_limit(*ALICE, **wanted)
    assert [(fault.field, fault.code) for fault in refused.value.errors] == [(field, code)]


async def test_the_seventeenth_limit_is_refused(meter: Any) -> None:
    for number in range(16):
        await meter.set_limit(*ALICE, f"n{number}", "requests", 10, 60)
    with pytest.raises(MeterValidationError, match="16 limits"):
        await meter.set_limit(*ALICE, "one more", "requests", 10, 60)
