"""Runs the tests of the store on changed scripts, in a process for each change. Makes no change itself.

The tests are collected once and run on the simulation's Redis, which answers within this process. Those
that noticed an earlier change run first.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from .changes import Change, changed_scripts

_TESTS = Path(__file__).parents[1]
_STORE = _TESTS / "store"
_NOT_OF_SCRIPTS = (
    "cluster",
    "durability",
    "pipeline",
    "pipeline_faults",
    "tls",
)  # nor could they run in this process
_CPU_BOUND_S = 30  # of its own work: a busy machine notices nothing
_BOUND_S = 300
_FIRST_KILLERS = 12

SURVIVED = ""


def try_all(changes: Sequence[Change], said: Connection) -> None:
    """Try changes one after the other; send for each the test that noticed it, or ``SURVIVED``.

    The first thing sent is the list of the tests that fail without any change: they can notice none.
    """
    sys.path[:0] = [str(_TESTS), str(_TESTS.parent)]
    import servers_under_test as served

    from .inprocess_server import ChangedServer

    served.FAKE = ChangedServer.name
    served.FakeServer = ChangedServer  # type: ignore[assignment,misc]
    served.server_names = lambda: [ChangedServer.name]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    files = [*sorted(_STORE.glob("test_script_*.py")), *sorted(_STORE.glob("test_store_*.py"))]
    left_out = {f"test_store_{name}.py" for name in _NOT_OF_SCRIPTS}
    chosen = [str(file) for file in (*files, _STORE / "test_walks.py") if file.name not in left_out]
    pytest.main(
        ["-q", "-p", "no:cacheprovider", "-o", "timeout=0", *chosen],
        plugins=[_Loop(changes, said, ChangedServer)],
    )


class _Loop:
    """Takes the place of pytest's loop over the tests."""

    def __init__(self, changes: Sequence[Change], said: Connection, server: Any) -> None:
        self._changes = changes
        self._said = said
        self._server = server
        self._killers: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        broken = in_child(lambda: self._failures(list(items.values())))
        self._said.send(broken)
        items = {name: item for name, item in items.items() if name not in broken}
        for change in self._changes:
            killer = self._outcome(items, change)
            if killer in items:
                self._killers = [killer, *(name for name in self._killers if name != killer)]
            self._said.send(killer)
        return True

    def _outcome(self, items: dict[str, pytest.Item], change: Change) -> str:
        """Run first what noticed a change last, then the tests that speak of the script most."""
        killers = [items[name] for name in self._killers[:_FIRST_KILLERS]]
        rest = [item for item in items.values() if item not in killers]
        rest.sort(key=lambda item: -_mentions(item.path, change.verb))
        return str(in_child(lambda: self._first_failure([*killers, *rest], change)))

    def _failures(self, items: Sequence[pytest.Item]) -> list[str]:
        return [item.nodeid for item, following in _pairs(items) if _fails(item, following)]

    def _first_failure(self, items: Sequence[pytest.Item], change: Change) -> str:
        self._server.texts = changed_scripts(change)
        return next((item.nodeid for item, following in _pairs(items) if _fails(item, following)), SURVIVED)


@cache
def _mentions(path: Path, verb: str) -> int:
    """Count how often a file of tests calls a verb's script."""
    text = path.read_text(encoding="utf-8")
    return text.count(f".{verb}(") + text.count(f'"{verb}"')


def _pairs(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)


def _fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def in_child(work: Callable[[], Any]) -> Any:
    """Do the work in a process of its own; say so, if it did not come to its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # A loop that never ends inside Lua hears no other signal.
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_BOUND_S, _CPU_BOUND_S))
        signal.alarm(_BOUND_S)
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        text = told.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else "it never came to an end"
