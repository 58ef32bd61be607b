"""Limits in numbers: exact to the last fraction up to the largest, and never more than a window allows."""

from __future__ import annotations

import asyncio
import os
from fractions import Fraction

import pytest
from desk import A, Desk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limit_model import Rate
from limiting import DAY_MS, MONTH_MS, set_limit, short, states
from servers_under_test import ServerUnderTest

from gateway.domain.limits import Limit

LARGEST = 2**53 - 1
LONG = os.environ.get("QUOTAGATE_WALKS") == "long"


@pytest.mark.parametrize("window_ms", [1000, 60_000, DAY_MS, DAY_MS + 1000, MONTH_MS, 366 * DAY_MS])
@pytest.mark.parametrize("limit", [1, 7, 10**9, LARGEST])
async def test_the_largest_numbers_stay_exact(desk: Desk, window_ms: int, limit: int) -> None:
    await desk.known(A, balance=LARGEST)
    await set_limit(desk, A, Limit("m", "amount", limit, window_ms, shadow=False))
    desk.now += 1
    rate = Rate(limit, window_ms)
    for step_ms, amount in (
        (0, limit),
        (1, limit),
        (window_ms // 3, limit // 2 or 1),
        (window_ms * 7 // 8, 1),
    ):
        desk.now += step_ms
        rate.flow(desk.now)
        reply = await desk.consume(A, amount, check=1)
        if reply[0] == "DENIED" and reply[9] == "balance":
            break
        assert (reply[0] == "DONE") == rate.fits(amount)
        if reply[0] == "DONE":
            rate.count(amount)
        else:
            assert reply[8] == str(rate.wait_ms(amount, desk.now))
        state = (await states(desk, A))["m"]
        assert state.standing(desk.now)[0] == -(-rate.used // 1)


async def test_a_debt_beyond_all_time_is_no_number(desk: Desk) -> None:
    await desk.known(A, balance=LARGEST)
    await set_limit(desk, A, Limit("m", "amount", 1, 366 * DAY_MS, shadow=False))
    desk.now += 1
    await desk.consume(A, LARGEST)
    await desk.consume(A, LARGEST)
    await desk.allocate(A, LARGEST)
    await desk.allocate(A, 5)
    assert short(await desk.consume(A, 1, check=1))[8:] == ["", "limit", "a:m"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "check", "commit", "commit", "release"]),
        st.integers(1, 60),
        st.integers(0, 40),
        st.sampled_from([0, 0, 1, 7, 100, 599, 600, 30_000, 60_001]),
    ),
    min_size=5,
    max_size=40,
)


@pytest.mark.parametrize(
    ("limit", "window_ms"), [(50, 60_000), (7, 1000), (1000, 60_000), (11, DAY_MS + 7000)]
)
def test_scripts_and_fractions_agree_and_no_window_lets_more_through(
    server: ServerUnderTest, limit: int, window_ms: int
) -> None:
    with asyncio.Runner() as runner:

        @settings(
            max_examples=400 if LONG else 8,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(steps)
        def run(done: list[tuple[str, int, int, int]]) -> None:
            server.clear()
            runner.run(_walk(server, limit, window_ms, done))

        run()


@pytest.mark.parametrize(
    ("limit", "done"),
    [
        # Two a millisecond flow back, of the hold and of all.
        (120_000, [("reserve", 1000, 0, 0), ("check", 5000, 0, 100), ("release", 1, 0, 0)]),
        # More than what was held has flowed back by then, so nothing is given back.
        (100, [("reserve", 1, 0, 0), ("check", 50, 0, 700), ("release", 1, 0, 0)]),
        # All but one part in sixty thousand of one is given back.
        (7, [("check", 5, 0, 0), ("reserve", 1, 0, 42_857), ("release", 1, 0, 1)]),
    ],
)
async def test_a_give_back_is_exact(
    server: ServerUnderTest, limit: int, done: list[tuple[str, int, int, int]]
) -> None:
    server.clear()
    await _walk(server, limit, 60_000, done)


async def _walk(
    server: ServerUnderTest, limit: int, window_ms: int, done: list[tuple[str, int, int, int]]
) -> None:
    link = server.link()
    desk = Desk(link, server.scripts)
    await desk.open()
    await desk.known(A, balance=10**12)
    await set_limit(desk, A, Limit("m", "amount", limit, window_ms, shadow=False))
    desk.now += 1
    rate, held, granted = Rate(limit, window_ms), [], []
    for number, (verb, amount, pick, step_ms) in enumerate(done):
        desk.now += step_ms * max(window_ms // 60_000, 1)
        rate.flow(desk.now)
        if verb in {"reserve", "check"}:
            hold_id = f"h{number}"
            if verb == "reserve":
                reply = await desk.reserve(hold_id, [(A, amount)], ttl_ms=10**12)
            else:
                reply = await desk.consume(A, amount, check=1)
            assert (reply[0] == "DONE") == rate.fits(amount), (verb, amount, rate)
            if reply[0] == "DONE":
                rate.count(amount)
                granted.append([desk.now, amount])
                if verb == "reserve":
                    held.append((hold_id, amount, desk.now, granted[-1]))
            else:
                wait_ms = rate.wait_ms(amount, desk.now)
                assert reply[8] == ("" if wait_ms is None else str(wait_ms))
        elif held:
            hold_id, size, created_ms, grant = held.pop(pick % len(held))
            actual = 0 if verb == "release" else min(amount, size)
            if verb == "release":
                await desk.release(hold_id)
            else:
                await desk.commit(hold_id, actual)
            grant[1] = actual
            rate.give_back(size - actual, created_ms, desk.now)
        state = (await states(desk, A))["m"]
        assert state.standing(desk.now)[0] == -(-rate.used // 1)
        assert 0 <= rate.used <= limit
    await link.close()
    for start, (first_ms, _) in enumerate(granted):
        total = 0
        for at_ms, amount in granted[start:]:
            total += amount
            assert total <= limit + Fraction(limit * (at_ms - first_ms), window_ms), granted
