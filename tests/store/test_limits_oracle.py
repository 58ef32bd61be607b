"""Rates beside the moving window of the library ``limits``, where both mean the same."""

from __future__ import annotations

import random

import pytest
from desk import A, Desk
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gateway.domain.limits import Limit, limit_name, terms_of

LIMIT, MINUTE_MS = 20, 60_000


class Oracle:
    """The library's moving window, at a time of ours."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self._item = RateLimitItemPerMinute(LIMIT)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        patch.setattr("limits.storage.memory.time.time", lambda: self.now_s)

    def hit(self, now_ms: int) -> bool:
        self.now_s = now_ms / 1000
        return self._limiter.hit(self._item, "alice")


async def limited(desk: Desk) -> Desk:
    await desk.known(A, balance=10**9)
    limit = Limit("m", "requests", LIMIT, MINUTE_MS, shadow=False)
    await desk.change("limit", "", "", "", A, limit_name("m"), terms_of(limit), "")
    desk.now += 1
    return desk


async def granted(desk: Desk) -> bool:
    return (await desk.consume(A, 1, check=1))[0] == "DONE"


async def test_a_burst_passes_as_far_as_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await limited(desk)
    oracle = Oracle(monkeypatch)
    for _ in range(2):
        here = [await granted(desk) for _ in range(LIMIT + 5)]
        assert here == [oracle.hit(desk.now) for _ in range(LIMIT + 5)]
        desk.now += MINUTE_MS + 1


async def test_what_passes_there_passes_here(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await limited(desk)
    oracle, chance = Oracle(monkeypatch), random.Random(7)
    passed = 0
    for _ in range(300):
        desk.now += chance.choice([0, 1, 500, 3000, 9000, 61_000])
        if oracle.hit(desk.now):
            assert await granted(desk)
            passed += 1
    assert passed > LIMIT * 5
