"""Limits at their edges: the last millisecond of a hold, a window that is overfull, two lacks at once."""

from __future__ import annotations

import pytest
from desk import A, B, Desk
from limiting import DAY_MS, per_minute, set_limit, short, used

from gateway.domain.limits import Limit


@pytest.fixture
async def rich(desk: Desk) -> Desk:
    """A and B with plenty of balance and no limit yet."""
    await desk.known(A, B, balance=10**9)
    return desk


async def test_a_hold_counts_as_open_to_its_last_millisecond(rich: Desk) -> None:
    await set_limit(rich, A, per_minute(1, "concurrency", name="c"))
    rich.now += 1
    await rich.reserve("a", [(A, 1)], ttl_ms=1000)
    rich.now += 999
    assert short(await rich.reserve("b", [(A, 1)]))[6:] == ["0", "1", "1", "concurrency", "c:c"]
    rich.now += 1
    assert (await rich.reserve("b", [(A, 1)]))[0] == "DONE"


async def test_a_hold_that_ends_now_is_not_the_one_to_wait_for(rich: Desk) -> None:
    await rich.reserve("ends", [(A, 1)], ttl_ms=1000)
    await rich.reserve("first", [(A, 1)], ttl_ms=3000)
    await rich.reserve("second", [(A, 1)], ttl_ms=5000)
    await set_limit(rich, A, per_minute(1, "concurrency", name="c"))
    rich.now += 1000
    assert short(await rich.reserve("new", [(A, 1)]))[8:] == ["4000", "concurrency", "c:c"]


async def test_more_time_alone_is_refused_by_no_window_however_full(rich: Desk) -> None:
    await rich.reserve("a", [(A, 60)])
    await rich.consume(A, 500)
    for limit in (per_minute(100), per_minute(2, "requests", name="r")):
        await set_limit(rich, A, limit)
    rich.now += 1
    for _ in range(3):
        await rich.consume(A, 500)
    assert (await rich.extend("a", 90_000, 0))[0] == "DONE"
    assert (await used(rich), await used(rich, name="r")) == (1500, 3)


async def test_nobody_waits_for_hundreds_of_years(rich: Desk) -> None:
    await set_limit(rich, A, Limit("y", "amount", 1, 366 * DAY_MS, shadow=False))
    rich.now += 1
    await rich.consume(A, 300)
    assert short(await rich.consume(A, 1, check=1))[8] == str(300 * 366 * DAY_MS)
    await rich.consume(A, 100)
    assert short(await rich.consume(A, 1, check=1))[8:] == ["", "limit", "a:y"]


async def test_balance_and_limit_both_in_the_way_are_waited_for_together(rich: Desk) -> None:
    await rich.adjust(B, 100 - 10**9)
    await set_limit(rich, B, per_minute(60))
    rich.now += 1
    await rich.reserve("holds", [(B, 60)], ttl_ms=1000)
    denied = await rich.reserve("more", [(B, 50)])
    # The balance is named, but the window has room for fifty only long after the hold has expired.
    assert denied[6:] == ["40", "50", "50000", "balance", ""]


async def test_of_two_limits_the_one_named_is_the_longer_whatever_their_order(rich: Desk) -> None:
    for name, window_ms in (("long", DAY_MS), ("short", 60_000)):
        await set_limit(rich, A, Limit(name, "amount", 100, window_ms, shadow=False))
    for name, window_ms in (("short", 60_000), ("long", DAY_MS)):
        await set_limit(rich, B, Limit(name, "amount", 100, window_ms, shadow=False))
    rich.now += 1
    for account in (A, B):
        await rich.consume(account, 100)
        assert short(await rich.consume(account, 1, check=1))[8:] == ["864000", "limit", "a:long"]
