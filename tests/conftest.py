"""Fixtures of the whole suite: both databases, a gateway over them, and meters in process. All real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from gateway_process import gateway_process

from gateway.embedded import open_meters
from gateway.meter import Meter
from gateway.servers import RunningServers, start_servers
from gateway.settings import Settings

OpenMeter = Callable[[str], Awaitable[Meter]]


@pytest.fixture(scope="session")
def servers() -> Iterator[RunningServers]:
    """Run an embedded Redis or Valkey and an embedded Postgres for the session."""
    with start_servers(None, ephemeral=True, fsync=False) as running:
        yield running


@pytest.fixture(scope="session")
def settings(servers: RunningServers) -> Settings:
    """Settings of a process on the session's servers; the gateway's own flusher does the posting."""
    urls = {"redis_url": servers.redis_url, "database_url": servers.database_url}
    return Settings(**urls, flusher=False, report_wait_ms=20_000)


@pytest.fixture(scope="session")
def gateway_url(servers: RunningServers) -> Iterator[str]:
    """Serve over HTTP in a process of its own, as ``quotagate serve`` does."""
    with gateway_process(servers) as url:
        yield url


@pytest.fixture(scope="session")
async def open_meter(settings: Settings, gateway_url: str) -> AsyncIterator[OpenMeter]:
    """Open meters in this process on the same databases."""
    async with open_meters(settings) as meters:

        async def opened(namespace: str) -> Meter:
            return meters(namespace)

        yield opened
