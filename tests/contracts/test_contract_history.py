"""What an account had at a time: the same over every facade, and what a reader then would have been told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import MeterValidationError

WHOSE = ("ann", "llm_call", "usd")


async def now_of(meter: Any) -> tuple[datetime, dict[str, Any]]:
    """Ask for the balance until the clock has moved past it, so that nothing later is of the same moment."""
    told = await meter.get_balance(*WHOSE)
    while (await meter.get_balance(*WHOSE))["as_of"] == told["as_of"]:
        pass
    return datetime.fromisoformat(told["as_of"]), told


async def test_history_tells_what_was_told_then(meter: Any) -> None:
    told = [await now_of(meter)]
    await meter.allocate(*WHOSE[:2], 100, "usd")
    told.append(await now_of(meter))
    hold = (await meter.reserve(*WHOSE[:2], "12.5", "usd"))["reservation_id"]
    told.append(await now_of(meter))
    await meter.extend(hold, amount="0.5")
    told.append(await now_of(meter))
    other = (await meter.reserve(*WHOSE[:2], 20, "usd"))["reservation_id"]
    told.append(await now_of(meter))
    await meter.commit(hold, "3.25")
    told.append(await now_of(meter))
    await meter.release(other)
    told.append(await now_of(meter))
    await meter.consume(*WHOSE[:2], 1, "usd", event_time=datetime(2026, 1, 1, tzinfo=UTC))
    for at, then in told:
        assert await meter.get_balance(*WHOSE, at=at) == then
    assert [then["reserved"] for _, then in told] == [0, 0, Decimal("12.5"), 13, 33, 20, 0]
    balances = [then["balance"] for _, then in told]
    assert balances == [0, 100, 100, 100, 100, Decimal("96.75"), Decimal("96.75")]


async def test_before_an_account_existed_it_had_nothing(meter: Any) -> None:
    await meter.allocate(*WHOSE[:2], 100, "usd")
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    assert await meter.get_balance(*WHOSE, at=long_ago) == {
        "balance": 0,
        "reserved": 0,
        "available": 0,
        "as_of": "2001-01-01T00:00:00.000Z",
    }


async def test_the_pool_has_a_history_too(meter: Any) -> None:
    await meter.allocate(None, "llm_call", 100, "tokens")
    hold = (await meter.reserve(None, "llm_call", 40, "tokens"))["reservation_id"]
    then = await meter.get_balance(None, "llm_call", "tokens")
    while (await meter.get_balance(None, "llm_call", "tokens"))["as_of"] == then["as_of"]:
        pass
    await meter.release(hold)
    at = datetime.fromisoformat(then["as_of"])
    assert await meter.get_balance(None, "llm_call", "tokens", at=at) == then


async def test_the_future_and_times_without_a_zone_are_refused(meter: Any) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for at, code in ((tomorrow, "VAL_AT_IN_FUTURE"), (datetime(2026, 1, 1), "VAL_AT_INVALID")):  # noqa: DTZ001
        with pytest.raises(MeterValidationError) as refused:
            await meter.get_balance(*WHOSE, at=at)
        assert [(error.field, error.code) for error in refused.value.errors] == [("at", code)]
        assert refused.value.status == 422
