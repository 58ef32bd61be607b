"""Gateways for the examples: each document has databases of its own, so that its answers are those shown."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import psycopg
import pytest
from doc_blocks import blocks_of
from doc_reader import Reader

from gateway.servers import RedisServer, RunningServers, start_redis

API_KEY = "a-key-for-the-documents"
PEPPER = "the-pepper-of-the-documents-0123456789"
_SERVES_ON = "Quotagate serves on "

_numbers = itertools.count(1)

OpenReader = Callable[..., Reader]


@pytest.fixture
def open_reader(
    servers: RunningServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenReader]:
    """Give a function that opens the reader of a document on databases that nobody has used."""
    with ExitStack() as running:

        def opened(document: str, *, own_curl: bool = False) -> Reader:
            number = next(_numbers)
            redis = start_redis(servers.servers["redis"].provider, tmp_path / f"redis_{number}")
            running.callback(redis.stop)
            environ = _environ(redis, servers, f"docs_{number}")
            for name, value in environ.items():
                monkeypatch.setenv(name, value)
            keyed = environ | {"QUOTAGATE_API_KEY": API_KEY, "QUOTAGATE_KEY_PEPPER": PEPPER}
            urls = {
                mark: running.enter_context(_gateway(keyed if mark else environ))
                for mark in sorted({block.mark for block in blocks_of(document)})
            }
            reader = Reader(urls, {"PATH": os.environ["PATH"], **keyed}, tmp_path, own_curl=own_curl)
            running.callback(reader.close)
            return reader

        yield opened


def _environ(redis: RedisServer, servers: RunningServers, name: str) -> dict[str, str]:
    """Make a database of this name; give the settings of processes on it and on the Redis."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return {
        "QUOTAGATE_REDIS_URL": redis.url,
        "QUOTAGATE_DATABASE_URL": servers.database_url.replace("/quotagate?", f"/{name}?"),
        "QUOTAGATE_FLUSH_INTERVAL_MS": "5",
        "QUOTAGATE_REPORT_WAIT_MS": "10000",
    }


@contextmanager
def _gateway(environ: Mapping[str, str]) -> Iterator[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--port", "0"],
        env=clean | dict(environ),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        try:
            yield _url(process.stderr)
        finally:
            process.terminate()
            assert process.wait(30) == 0


def _url(said: IO[str]) -> str:
    lines = []
    for line in said:
        if line.startswith(_SERVES_ON):
            return line.removeprefix(_SERVES_ON).partition(",")[0]
        lines.append(line)
    raise AssertionError(f"the gateway did not start: {''.join(lines)}")
