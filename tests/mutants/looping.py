"""Takes the place of pytest's loop: runs the tests on changed scripts, in a process for each change.

First all are run without a change, which tells what each of them does and takes; then, for each change,
those that run the changed line, until one fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection

import pytest
from _pytest.runner import runtestprotocol

from gateway.store.scripts import Script

from .changes import Change, changed_scripts
from .inprocess_server import ChangedServer
from .tracing import Spy, Trace, places
from .trying import SURVIVED, bound_cpu, in_child

_FIRST_KILLERS = 12
# How long a test may work on a changed script: one that loops is noticed soon, and none for being slow.
_CPU_BOUND_S, _TIMES_AS_LONG = 4, 5


class Loop:
    """The plugin of pytest that tries changes; it sends to ``said`` what came of each."""

    def __init__(self, changes: Sequence[Change], said: Connection) -> None:
        self._changes = changes
        self._said = said
        self._items: dict[str, pytest.Item] = {}
        self._traces: dict[str, Trace] = {}
        self._killers: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        told = in_child(lambda: _traces(session.items))
        self._traces = {name: Trace(*trace) for name, trace in told.items()}
        self._said.send([name for name, trace in self._traces.items() if trace.failed])
        for change in self._changes:
            killer = self._outcome(change)
            if killer in self._items:
                self._killers = [killer, *(name for name in self._killers if name != killer)]
            self._said.send(killer)
        return True

    def _outcome(self, change: Change) -> str:
        changed = changed_scripts(change)
        tests = [(self._items[name], self._traces[name].cpu_s) for name in self._chosen(places(changed))]
        return str(in_child(lambda: _first_failure(tests, changed)))

    def _chosen(self, where: Mapping[str, int]) -> list[str]:
        """Give the tests that run the changed line: first what noticed a change lately, then the quickest.

        No other test can notice the change; only a line that does nothing when it is run shows in no trace,
        as one that names a variable, and then every test of the script is tried.
        """
        whole = {name: trace for name, trace in self._traces.items() if not trace.failed}
        of_line = {name: trace for name, trace in whole.items() if trace.runs_line(where)}
        able = of_line or {name: trace for name, trace in whole.items() if trace.runs(where)}
        lately = self._killers[:_FIRST_KILLERS]
        return sorted(able, key=lambda name: (name not in lately, able[name].cpu_s))


def _traces(items: Sequence[pytest.Item]) -> dict[str, Trace]:
    spy = Spy()
    return {item.nodeid: spy.trace(partial(_fails, item, following)) for item, following in _pairs(items)}


def _first_failure(tests: Sequence[tuple[pytest.Item, float]], changed: dict[str, Script]) -> str:
    ChangedServer.texts = changed
    # That a walk fails is enough: nobody reads the shortest. Not imported before pytest has seen it.
    from hypothesis.internal.conjecture import engine

    engine.MAX_SHRINKS = 0
    for (item, following), (_, cpu_s) in zip(_pairs([item for item, _ in tests]), tests, strict=True):
        bound_cpu(_CPU_BOUND_S + _TIMES_AS_LONG * cpu_s)
        if _fails(item, following):
            return item.nodeid
    return SURVIVED


def _pairs(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items, None][1:], strict=True)


def _fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))
