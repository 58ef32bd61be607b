"""The sweeper's rounds, over a decider that is made up."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from gateway.domain.names import SHARDS
from gateway.errors import MeterUnavailableError
from gateway.running.sweeping import sweep_shards
from persistence import patience

_ROUNDS = 3


async def test_what_fails_is_tried_again_and_said_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    # However long a busy machine takes for this, to the log it is one moment.
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: 100.0))
    asked: Counter[int] = Counter()
    enough = asyncio.Event()

    async def sweep(shard: int) -> int:
        asked[shard] += 1
        if asked[SHARDS - 1] > _ROUNDS:
            enough.set()
        if shard % 2:
            raise MeterUnavailableError("nobody is there")
        return 0

    with capture_logs() as told:
        sweeping = asyncio.create_task(sweep_shards(sweep, 0.001))
        await enough.wait()
        sweeping.cancel()
        await asyncio.wait([sweeping])
    assert min(asked.values()) >= _ROUNDS
    assert told == [
        {
            "event": "sweep_failed",
            "log_level": "warning",
            "shards": SHARDS // 2,
            "reason": "nobody is there",
        }
    ]
