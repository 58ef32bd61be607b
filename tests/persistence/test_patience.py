"""What lasts is said at first and now and then, however often it is tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from structlog.testing import capture_logs

from gateway.errors import MeterUnavailableError
from persistence import api_keys, leases, patience
from persistence.api_keys import ApiKeys
from persistence.leases import Lease
from persistence.patience import Sparing
from persistence.upkeep import Upkeep


def test_it_is_said_at_first_and_then_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    saying = Sparing()
    heard = []
    for second in range(25):
        now[0] = 100.0 + second
        heard += [second] if saying.due() else []
    assert heard == [0, 10, 20]


@pytest.fixture
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes for a test, to the log it is one moment."""
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: 100.0))


class AwayDatabase:
    """A ledger's database that nobody can listen to, though a lease could be had."""

    def __init__(self) -> None:
        self.attempts = 0
        self.tried_often = asyncio.Event()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        yield AsyncMock()

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[Any]:
        self.attempts += 1
        if self.attempts == 5:
            self.tried_often.set()
        raise MeterUnavailableError(f"nobody tells of {channel}")
        yield


@pytest.mark.usefixtures("one_moment")
async def test_a_lease_that_cannot_be_renewed_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_AWAY_S", 0.001)
    database: Any = AwayDatabase()
    with capture_logs() as lines:
        async with Lease(database, MagicMock(), AsyncMock()).held(), asyncio.timeout(10):
            await database.tried_often.wait()
    assert [line["event"] for line in lines] == ["lease_not_renewed"]


@pytest.mark.usefixtures("one_moment")
async def test_keys_that_cannot_be_watched_do_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "_AWAY_S", 0.001)
    database: Any = AwayDatabase()
    with capture_logs() as lines:
        watching = asyncio.create_task(ApiKeys(database).watch(AsyncMock()))
        async with asyncio.timeout(10):
            await database.tried_often.wait()
        watching.cancel()
        await asyncio.wait([watching])
    assert [line["event"] for line in lines] == ["keys_not_watched"]


@pytest.mark.usefixtures("one_moment")
async def test_duplicates_that_cannot_be_undone_do_not_fill_the_log() -> None:
    looks, stop = [], asyncio.Event()

    async def pending(limit: int) -> Any:
        looks.append(limit)
        if len(looks) == 5:
            stop.set()
        raise MeterUnavailableError("nobody tells of duplicates")

    answers = MagicMock(pending=pending, forget=AsyncMock(return_value=0))
    with capture_logs() as lines:
        async with asyncio.timeout(10):
            await Upkeep(answers, AsyncMock(), keep_days=30, undo_every_s=0.001).run(stop)
    assert [line["event"] for line in lines] == ["undo_waits"]
