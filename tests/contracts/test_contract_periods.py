"""Periods: opened and closed once each, what lapses, what is carried over, and what holds do in between."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.domain.periods import midnight_ms
from gateway.errors import MeterValidationError

ANN = ("ann", "llm_call", "tokens", None)
JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
END = date(2026, 1, 31)
CONFIG = ("period_start", "period_allocation", "carry_over_limit", "every", "time_zone")


async def standing(meter: Any, *account: Any) -> tuple[Decimal, Decimal]:
    user, event, unit, resource = account or ANN
    found = await meter.get_balance(user, event, unit, resource)
    return found["balance"], found["available"]


async def lines(meter: Any, entry_type: str) -> list[Any]:
    return [e for e in await meter.get_ledger("ann", "llm_call", "tokens") if e["entry_type"] == entry_type]


def codes(caught: Any) -> list[tuple[str, str]]:
    return [(fault.field, fault.code) for fault in caught.value.errors]


def current(start: str, allocation: int, ends_at: str | None = None) -> dict[str, Any]:
    return {"period_start": start, "allocation": allocation, "ends_at": ends_at}


async def test_set_period_config_says_what_each_period_gives(meter: Any) -> None:
    assert await meter.set_period_config(*ANN, JANUARY, 1000, 200) is None
    assert await standing(meter) == (0, 0)
    assert await meter.open_period(*ANN, JANUARY) == 1000


async def test_open_period_credits_once_and_gives_the_balance(meter: Any) -> None:
    await meter.set_period_config(*ANN, JANUARY, 1000)
    first = await meter.open_period(*ANN, JANUARY)
    assert first == 1000
    assert isinstance(first, Decimal)
    await meter.consume("ann", "llm_call", 10, "tokens")
    assert await meter.open_period(*ANN, JANUARY) == 1000
    assert await meter.open_period(*ANN, JANUARY, 5) == 1000
    assert await standing(meter) == (990, 990)
    assert await meter.open_period(*ANN, FEBRUARY, 5) == 995
    (february, january) = await lines(meter, "allocation")
    assert (january["amount"], january["metadata"]) == (1000, {"period_start": "2026-01-01"})
    assert (february["amount"], february["metadata"]) == (5, {"period_start": "2026-02-01"})


async def test_the_largest_balance_stays_exact_beside_periods(meter: Any) -> None:
    largest = 2**53 - 1
    await meter.allocate("ann", "llm_call", largest, "tokens")
    await meter.close_period(*ANN, END)
    hold = await meter.reserve("ann", "llm_call", 1, "tokens")
    assert (await meter.commit(hold["reservation_id"], 1))["balance"] == largest - 1


async def test_a_period_earlier_than_others_can_be_opened_and_closed_once_too(meter: Any) -> None:
    await meter.set_period_config(*ANN, JANUARY, 10, 0)
    await meter.open_period(*ANN, FEBRUARY)
    assert [await meter.open_period(*ANN, JANUARY) for _ in range(3)] == [20] * 3
    closed = await meter.close_period(*ANN, date(2026, 2, 28))
    assert closed["expired"] == 20
    await meter.allocate("ann", "llm_call", 7, "tokens")
    assert [(await meter.close_period(*ANN, END))["expired"] for _ in range(3)] == [7] * 3
    assert await standing(meter) == (0, 0)


async def test_close_period_carries_over_up_to_the_limit_and_lets_the_rest_lapse(meter: Any) -> None:
    await meter.set_period_config(*ANN, JANUARY, 1000, 200)
    await meter.open_period(*ANN, JANUARY)
    closed = await meter.close_period(*ANN, END)
    assert closed == {"expired": 800, "carried_over": 200, "new_balance": 200}
    assert all(isinstance(amount, Decimal) for amount in closed.values())
    await meter.allocate("ann", "llm_call", 5000, "tokens")
    assert await meter.close_period(*ANN, END) == closed
    assert await standing(meter) == (5200, 5200)
    (line,) = await lines(meter, "expiration")
    assert (line["amount"], line["balance_after"]) == (-800, 200)
    assert line["metadata"] == {"period_end": "2026-01-31"}
    assert await meter.reconcile() == []


async def test_without_a_limit_everything_is_carried_over(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 30, "tokens")
    assert await meter.close_period(*ANN, END) == {"expired": 0, "carried_over": 30, "new_balance": 30}
    assert await lines(meter, "expiration") == []


async def test_closing_what_nobody_knows_gives_zeros_and_creates_nothing(meter: Any) -> None:
    assert await meter.close_period(*ANN, END) == {"expired": 0, "carried_over": 0, "new_balance": 0}
    assert await meter.get_user_balances("ann") == []


async def test_a_debt_is_carried_over_whole(meter: Any) -> None:
    await meter.set_period_config(*ANN, JANUARY, 10, 0)
    await meter.consume("ann", "llm_call", 25, "tokens")
    assert await meter.close_period(*ANN, END) == {"expired": 0, "carried_over": 0, "new_balance": -25}
    assert await meter.open_period(*ANN, FEBRUARY) == -15


async def test_what_is_held_never_lapses(meter: Any) -> None:
    await meter.set_period_config(*ANN, JANUARY, 100, 10)
    await meter.open_period(*ANN, JANUARY)
    await meter.reserve("ann", "llm_call", 60, "tokens")
    assert await meter.close_period(*ANN, END) == {"expired": 30, "carried_over": 10, "new_balance": 70}
    assert await standing(meter) == (70, 10)


@pytest.mark.parametrize("settle", ["release", "commit", "zero"])
async def test_what_a_hold_gives_back_after_its_period_follows_the_limit(meter: Any, settle: str) -> None:
    await meter.set_period_config(*ANN, JANUARY, 100, 45)
    await meter.open_period(*ANN, JANUARY)
    hold = (await meter.reserve("ann", "llm_call", 60, "tokens"))["reservation_id"]
    await meter.close_period(*ANN, END)  # 40 are carried over: 5 more may be
    await meter.open_period(*ANN, FEBRUARY)
    if settle == "release":
        assert await meter.release(hold) is True
        left, spent = 145, 0
    else:
        spent = 57 if settle == "commit" else 0
        assert (await meter.commit(hold, spent))["balance"] == {57: 143, 0: 145}[spent]
        left = 143 if spent else 145
    assert await standing(meter) == (left, left)
    expired = -sum(line["amount"] for line in await lines(meter, "expiration"))
    assert 200 - spent - expired == left
    assert await meter.reconcile() == []


async def test_a_commit_beyond_its_hold_takes_first_what_had_lapsed(meter: Any) -> None:
    await meter.set_period_config(*ANN, JANUARY, 100, 0)
    await meter.open_period(*ANN, JANUARY)
    hold = (await meter.reserve("ann", "llm_call", 60, "tokens"))["reservation_id"]
    assert (await meter.close_period(*ANN, END))["expired"] == 40
    await meter.open_period(*ANN, FEBRUARY)
    committed = await meter.commit(hold, 70)
    assert (committed["consumed"], committed["balance"]) == (70, 100)
    assert await standing(meter) == (100, 100)
    assert [line["amount"] for line in await lines(meter, "expiration")] == [10, -40]


async def test_a_hold_of_the_new_period_gives_everything_back(meter: Any) -> None:
    await meter.set_period_config(*ANN, JANUARY, 100, 0)
    await meter.open_period(*ANN, JANUARY)
    old = (await meter.reserve("ann", "llm_call", 60, "tokens"))["reservation_id"]
    await meter.close_period(*ANN, END)
    await meter.open_period(*ANN, FEBRUARY)
    new = (await meter.reserve("ann", "llm_call", 50, "tokens"))["reservation_id"]
    assert await meter.release(new) is True
    assert await standing(meter) == (160, 100)
    assert await meter.release(old) is True
    assert await standing(meter) == (100, 100)


async def test_a_hold_of_a_closed_period_can_be_lengthened_and_not_enlarged(meter: Any) -> None:
    await meter.set_period_config(*ANN, JANUARY, 100, 0)
    await meter.open_period(*ANN, JANUARY)
    hold = (await meter.reserve("ann", "llm_call", 60, "tokens"))["reservation_id"]
    await meter.close_period(*ANN, END)
    await meter.open_period(*ANN, FEBRUARY)
    refused = await meter.extend(hold, amount=1)
    assert (refused["extended"], refused["reason"]) == (False, "closed")
    assert (await meter.extend(hold, ttl_seconds=900))["extended"] is True
    assert (await meter.get_reservation(hold))["status"] == "active"


async def test_open_period_needs_an_account_and_something_to_give(meter: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        await meter.open_period(*ANN, JANUARY, 10)
    assert caught.value.code == "DATA_ACCOUNT_NOT_FOUND"
    await meter.allocate("ann", "llm_call", 1, "tokens")
    for allocation in (None, 0, -1):
        with pytest.raises(MeterValidationError) as caught:
            await meter.open_period(*ANN, JANUARY, allocation)
        assert codes(caught) == [("allocation", "VAL_ALLOCATION_REQUIRED")]
        assert caught.value.code == "VAL_ALLOCATION_REQUIRED"
    assert await standing(meter) == (1, 1)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"period_allocation": -1}, "VAL_AMOUNT_NEGATIVE"),
        ({"period_allocation": 0.5}, "VAL_TOO_PRECISE"),
        ({"carry_over_limit": -1}, "VAL_CARRY_OVER_NEGATIVE"),
        ({"period_start": "yesterday"}, "VAL_PERIOD_START_INVALID"),
        ({"period_start": date(1969, 1, 1)}, "VAL_PERIOD_START_OUT_OF_RANGE"),
        ({"every": "fortnight"}, "VAL_EVERY_INVALID"),
        ({"every": "month", "time_zone": "Mars/Olympus"}, "VAL_TIME_ZONE_INVALID"),
        ({"time_zone": "UTC"}, "VAL_TIME_ZONE_MISPLACED"),
    ],
)
async def test_a_config_that_makes_no_sense_is_refused(meter: Any, more: dict[str, Any], code: str) -> None:
    said = {"period_start": JANUARY, "period_allocation": 10} | more
    with pytest.raises(MeterValidationError) as caught:
        await meter.set_period_config(*ANN, said.pop("period_start"), **said)
    assert codes(caught) == [(next(reversed(more)), code)]
    assert await meter.get_user_balances("ann") == []


async def test_amounts_are_looked_at_before_users_and_days(meter: Any) -> None:
    nobody, too_early = ("", "llm_call", "tokens", None), date(1970, 1, 1)
    with pytest.raises(MeterValidationError) as caught:
        await meter.set_period_config(*nobody, too_early, -1, -1)
    assert [field for field, _ in codes(caught)] == [
        "period_allocation",
        "carry_over_limit",
        "user_id",
        "period_start",
    ]
    with pytest.raises(MeterValidationError) as caught:
        await meter.open_period(*nobody, too_early, 0)
    assert [field for field, _ in codes(caught)] == ["allocation", "user_id", "period_start"]


async def test_a_schedule_opens_the_period_of_today_at_once(meter: Any) -> None:
    today = datetime.now(UTC).date()
    for _ in range(2):  # a repeat changes nothing
        await meter.set_period_config(
            *ANN, today - timedelta(days=40), 100, 5, every="7 days", time_zone="UTC"
        )
        assert await standing(meter) == (100, 100)
    (line,) = await lines(meter, "allocation")
    opened = date.fromisoformat(line["metadata"]["period_start"])
    assert timedelta(0) <= today - opened < timedelta(days=7)
    assert (opened - (today - timedelta(days=40))).days % 7 == 0
    assert await meter.open_period(*ANN, opened) == 100
    assert await standing(meter) == (100, 100)


async def test_a_schedule_of_the_future_waits(meter: Any) -> None:
    start = datetime.now(UTC).date() + timedelta(days=3)
    await meter.set_period_config(*ANN, start, 100, every="month")
    assert await standing(meter) == (0, 0)
    denied = await meter.reserve("ann", "llm_call", 100, "tokens")
    assert 2 * 86_400 < denied["retry_after"] <= 4 * 86_400


async def of_account(meter: Any, *names: str) -> list[Any]:
    told = await meter.get_account(*(ANN[:3]))
    return [told[name] for name in names or (*CONFIG, "current_period")]


async def test_get_account_shows_the_terms_and_the_period_that_runs(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 1, "tokens")
    assert await of_account(meter) == [None] * 6
    await meter.set_period_config(*ANN, JANUARY, 1000, 200)
    config = ["2026-01-01", 1000, 200, None, None]
    assert await of_account(meter) == [*config, None]
    await meter.open_period(*ANN, JANUARY)
    assert await of_account(meter) == [*config, current("2026-01-01", 1000)]
    await meter.close_period(*ANN, END)
    assert await of_account(meter) == [*config, None]
    await meter.open_period(*ANN, FEBRUARY, 7)
    assert await of_account(meter) == [*config, current("2026-02-01", 7)]
    told = await meter.get_account(*ANN[:3])
    assert all(isinstance(told[name], Decimal) for name in ("period_allocation", "carry_over_limit"))
    assert isinstance(told["current_period"]["allocation"], Decimal)


async def test_get_account_begins_the_period_of_today_and_says_when_it_ends(meter: Any) -> None:
    today = datetime.now(UTC).date()
    await meter.set_period_config(*ANN, today, 100, every="2 days", time_zone="Etc/GMT+12")
    first_ms = midnight_ms(today, "Etc/GMT+12")
    if first_ms > datetime.now(UTC).timestamp() * 1000:  # there, today has not begun
        assert await of_account(meter, "current_period", "balance") == [None, 0]
        today -= timedelta(days=2)
        await meter.set_period_config(*ANN, today, 100, every="2 days", time_zone="Etc/GMT+12")
    ends_at = f"{today + timedelta(days=2)}T12:00:00.000Z"
    assert await of_account(meter, *CONFIG) == [str(today), 100, None, "2 days", "Etc/GMT+12"]
    assert await of_account(meter, "current_period", "balance") == [current(str(today), 100, ends_at), 100]


async def test_a_denial_says_when_the_next_period_opens(meter: Any) -> None:
    start = datetime.now(UTC).date() - timedelta(days=1)
    await meter.set_period_config(*ANN, start, 100, 20, every="30 days")
    opens_s = midnight_ms(start + timedelta(days=30), "UTC") / 1000

    async def retry_after(amount: int) -> Any:
        asked = ("ann", "llm_call", amount, "tokens")
        answers = [await meter.check(*asked), await meter.reserve(*asked)]
        answers.append(await meter.consume(*asked, check_balance=True))
        assert [answer["reason"] for answer in answers] == ["balance"] * 3
        return [answer["retry_after"] for answer in answers]

    before_s = datetime.now(UTC).timestamp() - 0.001
    told = await retry_after(101)
    assert all(opens_s - datetime.now(UTC).timestamp() <= after <= opens_s - before_s for after in told), told
    assert await retry_after(121) == [None] * 3, "more than is carried over and given"
    held = await meter.reserve("ann", "llm_call", 60, "tokens", ttl_seconds=30)
    assert all(after <= 30 for after in await retry_after(90)), "what is held comes back before"
    assert await meter.release(held["reservation_id"])


async def test_the_pool_has_periods_too(meter: Any) -> None:
    pool = (None, "llm_call", "usd", "gpt")
    await meter.set_period_config(*pool, JANUARY, "10.5", "0.25")
    assert await meter.open_period(*pool, JANUARY) == Decimal("10.5")
    closed = await meter.close_period(*pool, END)
    assert closed == {
        "expired": Decimal("10.25"),
        "carried_over": Decimal("0.25"),
        "new_balance": Decimal("0.25"),
    }
