"""What is done again and again beside a flusher, over work that is made up and fails each time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import MeterUnavailableError
from gateway.running import tidying
from gateway.running.tidying import keep_expiring, keep_leaving, keep_rolling
from persistence import patience

OFTEN = 5


class Failing:
    """Stands for whoever works."""

    interval_s = 0.001

    def __init__(self) -> None:
        self.attempts = 0
        self.tried_often = asyncio.Event()

    async def run_once(self) -> int:
        self.attempts += 1
        if self.attempts == OFTEN:
            self.tried_often.set()
        raise MeterUnavailableError("nobody is there")

    walk = run_once


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        (keep_leaving, {"event": "tidying_failed", "work": "leave"}),
        (keep_expiring, {"event": "tidying_failed", "work": "expire"}),
        (keep_rolling, {"event": "rolling_failed"}),
    ],
)
async def test_what_fails_is_tried_again_and_said_once_in_a_while(
    keep: Callable[[Any], Awaitable[None]], told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long a busy machine takes for this, to the log it is one moment.
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(tidying, "_ROLL_S", 0.001)
    work = Failing()
    with capture_logs() as lines:
        keeping = asyncio.ensure_future(keep(work))
        async with asyncio.timeout(10):
            await work.tried_often.wait()
        keeping.cancel()
        await asyncio.wait([keeping])
    assert lines == [{**told, "log_level": "warning", "reason": "nobody is there"}]
