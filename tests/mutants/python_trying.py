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

_DOMAIN = ("tests/domain",)
_POSTING = ("tests/persistence/test_posting_lines.py", "tests/persistence/test_rebasing.py")
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
_OURS = frozenset({"gateway", "persistence", "lua"})


def try_all_python(changes: Sequence[PythonChange], said: Connection) -> None:
    """Try changes one after the other; send for each the test that noticed it, or ``SURVIVED``.

    The first thing sent is the list of the tests that fail without any change.
    """
    for name in _FOREIGN:
        importlib.import_module(name)
    # Not before: pytest would rather see it first, where the scripts are changed.
    from hypothesis import Phase, settings

    # A change is small: few examples show it, and nobody reads the smallest.
    settings.register_profile(
        "mutants", max_examples=25, phases=[Phase.explicit, Phase.generate], database=None
    )
    settings.load_profile("mutants")
    broken = in_child(lambda: _first_failure(None))
    said.send([broken] if broken else [])
    for change in changes:
        # Tests that fail anyway notice nothing.
        said.send(SURVIVED if broken else in_child(lambda change=change: _first_failure(change)))


class _First:
    """Remembers the first test that failed."""

    def __init__(self) -> None:
        self.failed = SURVIVED

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def _first_failure(change: PythonChange | None) -> str:
    """Run the tests in this process, on modules that are imported anew, until one fails."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
    if change is not None:
        _load_changed(change)
    first, silence = _First(), io.StringIO()
    is_posting = change is not None and change.file.startswith("persistence/")
    tests = [str(ROOT / test) for test in ((*_POSTING, *_DOMAIN) if is_posting else (*_DOMAIN, *_POSTING))]
    # What was imported beforehand cannot be rewritten by pytest, and need not be.
    words = ["-x", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider"]
    words += ["-o", "timeout=0"]  # the bound of the child is our own, by the same signal
    words += ["--noconftest", f"--rootdir={ROOT}", *tests]
    with redirect_stdout(silence), redirect_stderr(silence):
        code = pytest.main(words, plugins=[first])
    return first.failed or ("" if code == pytest.ExitCode.OK else f"the tests end with {code!r}")


def _load_changed(change: PythonChange) -> None:
    """Let the module be compiled from its changed source when it is imported."""
    path, source = str(ROOT / change.file), change.source()
    known = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: Any, fullname: str) -> Any:
        return compile(source, path, "exec") if loader.path == path else known(loader, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]
