"""The lease of a process that acknowledges is renewed whatever happens, for a fence waits for nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from scribe import Ask

from gateway.errors import MeterUnavailableError
from gateway.store.kept import Kept
from persistence.database import Connection, Database, Heard
from persistence.leases import Lease
from persistence.ledger import Ledger

FAULTS = [RuntimeError("can't start new thread"), MeterUnavailableError("away"), KeyError("a mistake")]


class Faulty(Database):
    """Lends connections of a database, and fails to listen as often as it is told."""

    def __init__(self, database: Database, faults: list[Exception]) -> None:
        self.database = database
        self.faults = faults

    def connection(self, **options: Any) -> Any:
        return self.database.connection(**options)

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[tuple[Connection, Heard]]:
        if self.faults:
            raise self.faults.pop(0)
        async with self.database.listening(channel) as lent:
            yield lent


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_lease_is_renewed_whatever_kept_it_from_that(
    ledger: Ledger, database: Database, ask: Ask, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    del ledger
    monkeypatch.setattr("persistence.leases._AWAY_S", 0.01)

    async def recover() -> None:
        raise AssertionError("nothing is closed")

    async def until_s() -> Any:
        ((until,),) = await ask("SELECT extract(epoch FROM max(lease_until)) FROM meter.gateways")
        return until

    with structlog.testing.capture_logs() as logs:
        async with Lease(Faulty(database, [fault]), Kept(), recover).held():
            first = await until_s()
            async with asyncio.timeout(10):
                while await until_s() == first:  # noqa: ASYNC110 - a renewal sets no event
                    await asyncio.sleep(0.005)
    assert [log["event"] for log in logs] == ["lease_not_renewed"]
    assert (logs[0]["exc_info"] is None) == isinstance(fault, MeterUnavailableError)
