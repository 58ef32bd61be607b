"""What the scenarios share: commands that never outlive their test, servers, and a directory for data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from browser import Browser
from commands import Command, Run
from page_house import House

from gateway.servers import (
    RunningServers,
    postgres_providers,
    redis_providers,
    start_postgres,
    start_redis,
    start_servers,
)
from gateway.servers.postgres_server import PostgresServer
from gateway.servers.redis_server import RedisServer


@pytest.fixture
def run() -> Iterator[Run]:
    """Run commands; whatever still runs at the end of the test is killed."""
    commands: list[Command] = []

    def start(*arguments: str, **environ: str) -> Command:
        command = Command(list(arguments), {f"QUOTAGATE_{name}": text for name, text in environ.items()})
        commands.append(command)
        return command

    yield start
    for command in commands:
        command.end()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory that no server has used yet."""
    return tmp_path / "data"


@pytest.fixture
def redis() -> Iterator[RunningServers]:
    """A Redis of the test's own, for a Postgres that comes and goes."""
    with start_servers(None, ephemeral=True, postgres=False) as running:
        yield running


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """A Postgres that the test may kill: what it has committed it still has when it is started again."""
    server = start_postgres(postgres_providers()[0], tmp_path / "postgres")
    yield server
    server.stop()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may kill."""
    server = start_redis(redis_providers()[0], tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def house(servers: RunningServers, gateway_url: str) -> Iterator[House]:
    """A gateway that asks for keys; the session's own posts what this one journals."""
    del gateway_url
    with closing(House(servers)) as built:
        yield built


@pytest.fixture(scope="module")
def opened_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of a file."""
    with closing(Browser(tmp_path_factory.mktemp("browser"))) as opened:
        yield opened


@pytest.fixture
def browser(opened_browser: Browser) -> Iterator[Browser]:
    """A browser that remembers nothing of the test before."""
    opened_browser.complaints.clear()
    yield opened_browser
    opened_browser.run("try { sessionStorage.clear(); } catch { /* there was no page */ }")
    opened_browser.open("about:blank")
