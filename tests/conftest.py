"""Fixtures of the whole suite: both databases, a gateway over them, and meters in process. All real."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import IO

import pytest

from gateway.embedded import open_meters
from gateway.meter import Meter
from gateway.servers import RunningServers, start_servers
from gateway.settings import Settings

OpenMeter = Callable[[str], Awaitable[Meter]]

_SERVES_ON = "Quotagate serves on "


@pytest.fixture(scope="session")
def servers() -> Iterator[RunningServers]:
    """Run an embedded Redis or Valkey and an embedded Postgres for the session."""
    with start_servers(None, ephemeral=True, fsync=False) as running:
        yield running


@pytest.fixture(scope="session")
def settings(servers: RunningServers) -> Settings:
    """Settings of a process on the session's servers; the gateway's own flusher does the posting."""
    return Settings(redis_url=servers.redis_url, database_url=servers.database_url, flusher=False)


@pytest.fixture(scope="session")
def gateway_url(servers: RunningServers) -> Iterator[str]:
    """Serve over HTTP in a process of its own, as ``quotagate serve`` does."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")} | {
        "QUOTAGATE_REDIS_URL": servers.redis_url,
        "QUOTAGATE_DATABASE_URL": servers.database_url,
        "QUOTAGATE_FLUSH_INTERVAL_MS": "5",
        "QUOTAGATE_AUTH": "off",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--port", "0"],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield _url_of(process)
        finally:
            process.terminate()
            assert process.wait(30) == 0


@pytest.fixture(scope="session")
async def open_meter(settings: Settings, gateway_url: str) -> AsyncIterator[OpenMeter]:
    """Open meters in this process on the same databases."""
    async with open_meters(settings) as meters:

        async def opened(namespace: str) -> Meter:
            return meters(namespace)

        yield opened


def _url_of(process: subprocess.Popen[str]) -> str:
    """Read the gateway's words until it says where it serves; go on reading, so that it never blocks."""
    assert process.stderr is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_pump, args=(process.stderr, lines), daemon=True).start()
    said = []
    while True:
        line = lines.get(timeout=30)
        said.append(line)
        if line.startswith(_SERVES_ON):
            return line.removeprefix(_SERVES_ON).partition(",")[0]
        assert line, f"the gateway did not start: {said}"


def _pump(stream: IO[str], lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line.rstrip("\n"))
        sys.stderr.write(line)
    lines.put("")
