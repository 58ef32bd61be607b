"""What the scenarios share: commands that never outlive their test, servers, and a directory for data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command, Run

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
