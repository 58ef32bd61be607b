"""When it is worth asking again where periods roll by themselves: not before, and not never."""

from __future__ import annotations

import pytest
from desk import START_MS, A, B, Desk

from gateway.store.pipeline import Word

OPENS_MS = START_MS + 5_000_000
DAY_MS, LEAP_MS = 86_400_000, 7_200_000
NEVER = ""


async def install(
    desk: Desk,
    balance: int,
    given: Word = 100,
    limit: Word = "-",
    every: str = "day",
    *,
    account: str = A,
    opens_ms: int = OPENS_MS,
    ended: str = "-",
    running: str = "2096-10-01",
) -> None:
    words = f"{opens_ms} 0 {-(2**53 - 1)} 2096-10-01 {ended} {running} {given} {limit} 2096-01-01 {every} UTC"
    assert (await desk.install(account, words, balance, 0, 0))[0] == "INSTALLED"


def wait(reply: list[str]) -> Word:
    """Give the time to wait as the moment it ends at, or NEVER."""
    assert reply[0] == "DENIED"
    return START_MS + int(reply[8]) if reply[8] else NEVER


async def asked(desk: Desk, amount: int, account: str = A) -> Word:
    """Ask in every way there is; all must say the same."""
    replies = [
        await desk.reserve("asked", [(account, amount)]),
        await desk.consume(account, amount, check=1),
        await desk.run("check", [desk.keys.due], desk.now, desk.ns, account, amount),
    ]
    (answer,) = {wait(reply) for reply in replies}
    return answer


@pytest.mark.parametrize(
    ("balance", "limit", "needed", "expected"),
    [
        (0, "-", 100, OPENS_MS),
        (40, "-", 140, OPENS_MS),
        (40, 10, 110, OPENS_MS),  # thirty lapse when the period ends
        (40, 10, 111, NEVER),
        (40, 0, 100, OPENS_MS),
        (40, 0, 101, NEVER),
        (-30, 10, 70, OPENS_MS),
        (-30, 10, 71, OPENS_MS + DAY_MS - LEAP_MS),  # a debt takes two periods
        (0, "-", 101, OPENS_MS + DAY_MS - LEAP_MS),
        (0, "-", 201, OPENS_MS + 2 * DAY_MS - LEAP_MS),
        (0, 150, 250, OPENS_MS + 2 * DAY_MS - LEAP_MS),
        (0, 150, 251, NEVER),
        (0, "-", 2**53 - 1, NEVER),  # in ages that nobody waits
    ],
)
async def test_the_next_period_helps_where_it_gives_enough(
    desk: Desk, balance: int, limit: Word, needed: int, expected: Word
) -> None:
    await install(desk, balance, 100, limit)
    assert await asked(desk, needed) == expected


@pytest.mark.parametrize(("every", "days"), [("month", 28), ("week", 7), ("day", 1), ("10_days", 10)])
async def test_several_periods_last_no_less_than_they_can(desk: Desk, every: str, days: int) -> None:
    await install(desk, 0, 100, "-", every)
    assert await asked(desk, 300) == OPENS_MS + 2 * days * DAY_MS - LEAP_MS


async def test_a_period_that_gives_nothing_does_not_help(desk: Desk) -> None:
    await install(desk, 10, 0)
    assert await asked(desk, 11) == NEVER


async def test_without_a_schedule_nobody_knows_when_a_period_opens(desk: Desk) -> None:
    await install(desk, 10, 100, opens_ms=0, running="-")
    assert await asked(desk, 11) == NEVER


async def test_nothing_lapses_where_none_runs_or_it_was_closed_by_hand(desk: Desk) -> None:
    await install(desk, 40, 100, 10, running="-")
    assert await asked(desk, 140) == OPENS_MS
    await install(desk, 40, 100, 10, ended="2096-10-01", account=B)
    assert await asked(desk, 140, B) == OPENS_MS


async def test_the_sooner_of_a_hold_that_expires_and_the_next_period(desk: Desk) -> None:
    await install(desk, 100, 100, "-")
    await desk.reserve("short", [(A, 80)], 1000)
    assert await asked(desk, 90) == START_MS + 1000, "what is held is enough"
    await install(desk, 100, 100, "-", account=B)
    await desk.reserve("long", [(B, 80)], 9_000_000)
    assert await asked(desk, 90, B) == OPENS_MS, "the period comes before"
    assert await asked(desk, 121, B) == START_MS + 9_000_000, "it takes both"
    assert await asked(desk, 200, B) == START_MS + 9_000_000
    assert await asked(desk, 201, B) == OPENS_MS + DAY_MS - LEAP_MS


async def test_a_hold_that_could_not_be_enlarged_in_the_next_period_is_not_told_to_wait(desk: Desk) -> None:
    await install(desk, 100, 100, 50)
    await desk.reserve("own", [(A, 80)], 9_000_000)
    assert wait(await desk.extend("own", 0, 30)) == NEVER
    await install(desk, 100, 100, "-", account=B)
    await desk.reserve("free", [(B, 80)], 9_000_000)
    assert wait(await desk.extend("free", 0, 30)) == OPENS_MS


async def test_of_several_legs_the_last_to_fit_says_when(desk: Desk) -> None:
    await install(desk, 0)
    await install(desk, 0, account=B, opens_ms=OPENS_MS + 7)
    assert wait(await desk.reserve("both", [(A, 5), (B, 5)])) == OPENS_MS + 7
    assert wait(await desk.reserve("both", [(A, 5), (B, 0)])) == OPENS_MS


async def test_a_period_that_opens_in_eighty_years_is_waited_for(desk: Desk) -> None:
    await install(desk, 0, opens_ms=START_MS + 80 * 366 * DAY_MS)
    assert await asked(desk, 5) == START_MS + 80 * 366 * DAY_MS


@pytest.mark.parametrize(("own_ms", "other_ms"), [(1000, 5000), (5000, 1000)])
async def test_a_hold_that_is_to_be_enlarged_waits_for_another_to_expire(
    desk: Desk, own_ms: int, other_ms: int
) -> None:
    """Its own end does not help it, whichever of the two comes first."""
    await desk.known(A, balance=100)
    await desk.reserve("own", [(A, 10)], own_ms)
    await desk.reserve("other", [(A, 50)], other_ms)
    assert wait(await desk.extend("own", 0, 50)) == START_MS + other_ms


async def test_a_hold_in_its_last_millisecond_is_waited_for(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("ends", [(A, 10)], 1)
    assert await asked(desk, 91) == START_MS + 1
