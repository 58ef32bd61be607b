"""Rounds walk everything at their rate, one process at a time, and tell what drifts until it is gone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from acting import Script

from gateway.errors import MeterUnavailableError
from gateway.protocols import Mismatch
from gateway.reconcile.matching import Comparer, Pace
from gateway.reconcile.reconciler import ROUNDS, Orders, Part
from gateway.reconcile.rounds import Rounds

DRIFT = [Mismatch("b", "u:e:tokens:", issue, 1, 2) for issue in ("balance_mismatch", "chain_broken")]


class Walked:
    """A reconciler of two namespaces; the second one's accounts drift as ``parts`` says."""

    def __init__(self) -> None:
        self.parts = [Part([], 2, 0, None)]
        self.turns: list[bool] = []
        self.walks: list[str] = []
        self.closed = ""
        self.error: Exception | None = None
        self.asked = asyncio.Event()

    async def namespaces(self) -> AsyncIterator[str]:
        for namespace in ("a", "b"):
            yield namespace

    async def walk(self, namespace: str, _orders: Orders) -> AsyncIterator[Part]:
        self.walks.append(namespace)
        if namespace in self.closed:
            raise MeterUnavailableError("its shard is closed", "recovering")
        for part in self.parts if namespace == "b" else [Part([], 1, 0, None)]:
            yield part

    def paced(self, pace: Pace) -> Walked:
        self.pace = pace
        return self

    async def take_turn(self, _holder: str, _seconds: float) -> bool:
        self.asked.set()
        if self.error:
            raise self.error
        return self.turns.pop(0) if self.turns else True


class Told:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.accounts, self.drift, self.rounds = 0, list[int](), 0

    def reconciled(self, accounts: int) -> None:
        self.accounts += accounts

    def drifting(self, accounts: int) -> None:
        self.drift.append(accounts)

    def round_done(self, at_s: float) -> None:
        assert at_s > 0
        self.rounds += 1


class FakeClock:
    """Stands for asyncio and time: whoever sleeps wakes at once, so much later."""

    def __init__(self) -> None:
        self.now_s, self.slept = 1000.0, list[float]()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def monotonic(self) -> float:
        return self.now_s

    time = monotonic


@pytest.fixture
def walked() -> Walked:
    return Walked()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def rounds(walked: Any, told: Told) -> Rounds:
    return Rounds(walked, told, accounts_per_second=100_000, interval_s=0.001, orders=ROUNDS)


async def test_drift_shows_at_once_and_until_a_round_without_it(
    walked: Walked, told: Told, rounds: Rounds
) -> None:
    walked.parts = [Part(DRIFT, 2, 0, "u:e:tokens:"), Part([], 1, 0, None)]
    await rounds.round()
    assert (told.accounts, told.drift, told.rounds) == (4, [0, 1, 1, 1], 1)
    walked.parts = [Part(DRIFT, 2, 1, None)]
    await rounds.round()
    assert (told.drift[4:], told.rounds) == ([1, 1, 0], 2)


async def test_a_lost_turn_ends_the_round(walked: Walked, told: Told, rounds: Rounds) -> None:
    walked.turns = [False]
    await rounds.round()
    assert (walked.walks, told.rounds) == (["a"], 0)


async def test_a_namespace_that_cannot_be_compared_keeps_no_other_from_it(
    walked: Walked, told: Told, rounds: Rounds
) -> None:
    walked.closed = "a"
    with pytest.raises(MeterUnavailableError):
        await rounds.round()
    assert (walked.walks, told.accounts, told.rounds) == (["a", "b"], 2, 0)
    walked.turns = [False]
    await rounds.round()
    assert walked.walks[2:] == ["a"], "whoever has lost the turn leaves the others alone as well"


async def test_a_failure_ends_the_round_and_not_the_rounds(
    walked: Walked, told: Told, rounds: Rounds
) -> None:
    walked.error = MeterUnavailableError("away")
    running = asyncio.create_task(rounds.run())
    async with asyncio.timeout(10):
        await walked.asked.wait()
        walked.error = None
        while not told.rounds:  # noqa: ASYNC110 - a round ends without an event
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_holds_take_their_time_and_the_turn_is_kept_meanwhile(
    walked: Walked, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty as much as an account: one account may have any number of them."""
    clock = FakeClock()
    monkeypatch.setattr("gateway.reconcile.rounds.time", clock)
    monkeypatch.setattr("gateway.reconcile.rounds.asyncio", clock)
    made: Any = walked
    await Rounds(made, told, accounts_per_second=1, interval_s=1, orders=ROUNDS).round()
    clock.slept.clear()
    await walked.pace(3_200)
    assert sum(clock.slept) == 160


async def test_a_turn_outlives_what_is_compared_between_two_waits(
    walked: Walked, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the shortest interval too: two processes would else take the turn from each other for ever."""
    clock, until, kept = FakeClock(), [math.inf], list[bool]()

    async def take_turn(_holder: str, seconds: float) -> bool:
        kept.append(clock.now_s < until[0])
        until[0] = clock.now_s + seconds
        return kept[-1]

    monkeypatch.setattr("gateway.reconcile.rounds.time", clock)
    monkeypatch.setattr("gateway.reconcile.rounds.asyncio", clock)
    monkeypatch.setattr(walked, "take_turn", take_turn)
    made: Any = walked
    await Rounds(made, told, accounts_per_second=1, interval_s=1, orders=ROUNDS).round()
    for _ in range(3):
        clock.now_s += 15
        await walked.pace(3_200)
    assert all(kept)


async def test_whoever_has_no_holds_waits_for_none(script: Script) -> None:
    paced = list[int]()

    async def pace(holds: int) -> None:
        paced.append(holds)

    script.answers |= {"audit": None, "check": {}}
    comparer = Comparer(script, script, script, wait_s=1).paced(pace)
    assert await comparer.compare("acme", ["u:e:tokens:"]) == []
    assert paced == []
