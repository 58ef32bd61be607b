"""Runs the pure tests of the money code on changed modules, in a process for each. Makes no change itself."""

from __future__ import annotations

import importlib
import importlib.machinery
import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from typing import Any

import pytest

from .python_changes import ROOT, PythonChange
from .trying import SURVIVED, in_child

_TESTS = (
    "tests/domain",
    "tests/persistence/test_posting_lines.py",
    "tests/persistence/test_rebasing.py",
)
# What takes long to import, and is none of ours: imported once, for all processes.
_FOREIGN = (
    "hypothesis",
    "hypothesis.strategies",
    "msgspec",
    "psycopg",
    "psycopg_pool",
    "structlog",
    "tenacity",
)


def try_all_python(changes: Sequence[PythonChange], said: Connection) -> None:
    """Try changes one after the other; send for each the test that noticed it, or ``SURVIVED``.

    The first thing sent is the list of the tests that fail without any change.
    """
    for name in _FOREIGN:
        importlib.import_module(name)
    broken = in_child(lambda: _first_failure(None))
    said.send([broken] if broken else [])
    for change in changes:
        said.send(in_child(lambda change=change: _first_failure(change)))


class _First:
    """Remembers the first test that failed."""

    def __init__(self) -> None:
        self.failed = SURVIVED

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def _first_failure(change: PythonChange | None) -> str:
    """Run the tests in this process, in which no module of ours was imported yet, until one fails."""
    if change is not None:
        _load_changed(change)
    first, silence = _First(), io.StringIO()
    tests = [str(ROOT / test) for test in _TESTS]
    words = ["-x", "-q", "-p", "no:cacheprovider", "--noconftest", f"--rootdir={ROOT}", *tests]
    with redirect_stdout(silence), redirect_stderr(silence):
        code = pytest.main(words, plugins=[first])
    return first.failed or ("" if code == pytest.ExitCode.OK else f"the tests end with {code!r}")


def _load_changed(change: PythonChange) -> None:
    """Let the module be compiled from its changed source when it is imported."""
    assert not any(name.partition(".")[0] in {"gateway", "persistence"} for name in sys.modules)
    path, source = str(ROOT / change.file), change.source()
    known = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: Any, fullname: str) -> Any:
        return compile(source, path, "exec") if loader.path == path else known(loader, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]
