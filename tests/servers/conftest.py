"""What the tests of servers share: one parameter per server found, and hosting processes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from server_tools import Hosting

from gateway.servers import postgres_providers, redis_providers


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, find in (("redis_provider", redis_providers), ("postgres_provider", postgres_providers)):
        if fixture in metafunc.fixturenames:
            found = find()
            metafunc.parametrize(
                fixture, found, ids=[p.name.replace(" ", "-") for p in found], scope="module"
            )


@pytest.fixture
def hosting() -> Iterator[Callable[..., Hosting]]:
    """Return a function that starts a hosting process; each is ended at the end of the test."""
    with contextlib.ExitStack() as cleanup:

        def start(
            data_dir: Path, command: list[str] | None = None, environ: dict[str, str] | None = None
        ) -> Hosting:
            made = Hosting(data_dir, command or [sys.executable], environ or {})
            cleanup.callback(lambda: made.process.poll() is None and made.end())
            return made

        yield start
