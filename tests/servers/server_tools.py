"""Helpers of the tests of servers: clients, patience, and a process that hosts servers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from gateway.servers import Provider

ROOT = Path(__file__).parents[2]
HOSTING = Path(__file__).with_name("hosting.py")


def provider_of(found: list[Provider], kind: str, *version: int) -> Provider:
    """Return the provider of a kind and version, or skip the test where it is not installed."""
    for provider in found:
        if provider.kind == kind and provider.version[: len(version)] == version:
            return provider
    pytest.skip(f"no {kind} {'.'.join(map(str, version))} on this machine")


@contextlib.contextmanager
def redis_client(url: str) -> Iterator[Any]:
    client = redis.Redis.from_url(url, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def ask(url: str, sql: str) -> Any:
    """Return the one value that a statement answers."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return row[0] if row else None


def run_sql(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.encode())


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = 20.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {patience_s} s"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Hosting:
    """A process that hosts servers until it is told to end, or is killed."""

    def __init__(self, data_dir: Path, command: list[str], environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*command, str(HOSTING), str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **environ},
            cwd="/",
        )
        self._told: dict[str, Any] | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What it said once its servers were up."""
        if self._told is None:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, self.end()
            self._told = json.loads(line)
        return self._told

    def end(self) -> str:
        """End it in good order and return what it said on stderr."""
        _, said = self.process.communicate(timeout=60)
        return str(said)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)
