"""Exact decimals from one end to the other: scales, bounds, and the forms a number may come in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import MeterValidationError

MOST = 2**53 - 1


@pytest.mark.parametrize("unit", ["tokens", "requests", "calls", "bytes", "pages", "count"])
async def test_counted_units_take_whole_numbers_only(meter: Any, unit: str) -> None:
    for whole in (3, 3.0, Decimal("3.000"), "3"):
        await meter.allocate("ann", "x", whole, unit)
    assert (await meter.get_balance("ann", "x", unit))["balance"] == 12
    with pytest.raises(MeterValidationError) as caught:
        await meter.allocate("ann", "x", 1.5, unit)
    assert caught.value.code == "VAL_TOO_PRECISE"


async def test_other_units_take_six_places(meter: Any) -> None:
    await meter.allocate("ann", "x", "0.000001", "usd")
    assert (await meter.get_balance("ann", "x", "usd"))["balance"] == Decimal("0.000001")
    with pytest.raises(MeterValidationError) as caught:
        await meter.allocate("ann", "x", "0.0000001", "usd")
    assert caught.value.code == "VAL_TOO_PRECISE"


async def test_a_number_may_come_as_int_float_decimal_or_text(meter: Any) -> None:
    for tenth in (0.1, Decimal("0.1"), "0.1", "1e-1", 1):
        await meter.allocate("ann", "x", tenth, "usd")
    assert (await meter.get_balance("ann", "x", "usd"))["balance"] == Decimal("1.4")


async def test_tenths_add_up_exactly(meter: Any) -> None:
    await meter.allocate("ann", "x", 0.3, "usd")
    consumed = [await meter.consume("ann", "x", 0.1, "usd", check_balance=True) for _ in range(3)]
    assert [str(answer["balance"]) for answer in consumed] == ["0.2", "0.1", "0"]
    assert (await meter.consume("ann", "x", "0.000001", "usd", check_balance=True))["success"] is False


async def test_a_hold_settles_exactly(meter: Any) -> None:
    await meter.allocate("ann", "x", "1.000001", "usd")
    hold = await meter.reserve("ann", "x", "0.7", "usd")
    assert hold["available"] == Decimal("0.300001")
    committed = await meter.commit(hold["reservation_id"], 0.123456)
    assert committed["released"] == Decimal("0.576544")
    assert committed["balance"] == Decimal("0.876545")


@pytest.mark.parametrize(
    ("unit", "most", "least"),
    [("tokens", Decimal(MOST), Decimal(1)), ("usd", Decimal("9007199254.740991"), Decimal("0.000001"))],
)
async def test_the_largest_amount_is_exact(meter: Any, unit: str, most: Decimal, least: Decimal) -> None:
    posted = await meter.allocate("ann", "x", most, unit)
    assert posted["balance"] == most
    hold = await meter.reserve("ann", "x", most, unit)
    assert (hold["granted"], hold["available"]) == (True, 0)
    committed = await meter.commit(hold["reservation_id"], most - least)
    assert (committed["released"], committed["balance"]) == (least, least)
    entries = await meter.get_ledger("ann", "x", unit)
    assert [entry["amount"] for entry in entries] == [least - most, most]
    assert [entry["balance_after"] for entry in entries] == [least, most]


async def test_a_balance_beyond_the_largest_amount_is_refused(meter: Any) -> None:
    await meter.allocate("ann", "x", MOST, "tokens")
    with pytest.raises(MeterValidationError) as caught:
        await meter.allocate("ann", "x", 1, "tokens")
    assert [(fault.field, fault.code) for fault in caught.value.errors] == [("amount", "VAL_OUT_OF_RANGE")]
    assert (await meter.get_balance("ann", "x", "tokens"))["balance"] == MOST


async def test_a_debt_beyond_the_largest_amount_is_refused(meter: Any) -> None:
    await meter.consume("ann", "x", MOST, "tokens")
    with pytest.raises(MeterValidationError) as caught:
        await meter.consume("ann", "x", 1, "tokens")
    assert [(fault.field, fault.code) for fault in caught.value.errors] == [("amount", "VAL_OUT_OF_RANGE")]
    assert (await meter.get_balance("ann", "x", "tokens"))["balance"] == -MOST


async def test_answers_are_decimals_without_idle_zeros(meter: Any) -> None:
    posted = await meter.allocate("ann", "x", "2.500000", "usd")
    assert str(posted["balance"]) == "2.5"
    assert str((await meter.allocate("ann", "x", "997.5", "usd"))["balance"]) == "1000"
    balance = await meter.get_balance("ann", "x", "usd")
    assert all(type(balance[part]) is Decimal for part in ("balance", "reserved", "available"))


async def test_what_is_available_of_a_debt_beside_a_hold_is_exact(meter: Any) -> None:
    await meter.allocate("ann", "x", 100, "tokens")
    hold = await meter.reserve("ann", "x", 100, "tokens")
    await meter.consume("ann", "x", MOST, "tokens")
    await meter.consume("ann", "x", 100, "tokens")
    exact = {"balance": -MOST, "available": -MOST - 100}
    denials = (
        await meter.consume("ann", "x", 1, "tokens", check_balance=True),
        await meter.reserve("ann", "x", 1, "tokens"),
        await meter.check("ann", "x", 1, "tokens"),
        await meter.get_balance("ann", "x", "tokens"),
    )
    assert [{word: answer[word] for word in exact} for answer in denials] == [exact] * 4
    assert (await meter.extend(hold["reservation_id"], amount=1))["available"] == exact["available"]
