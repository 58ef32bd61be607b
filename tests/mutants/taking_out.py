"""Runs a test on a copy of the project that lacks a protection. What is taken out is said elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from .protections import ROOT, Edit, Protection, apply

_PARTS = ("gateway", "lua", "persistence", "tests", "pyproject.toml")
_MADE = shutil.ignore_patterns("__pycache__", ".*")
_PASSED, _FAILED = 0, 1


def try_protections(
    protections: Sequence[Protection], jobs: int, *, whole: bool
) -> Iterator[tuple[Protection, str]]:
    """Give each protection with what is wrong: "" when its test fails without it.

    ``whole`` asks first whether the test passes with everything in place.
    """
    with ThreadPoolExecutor(jobs) as pool:
        faults = pool.map(lambda protection: _fault(protection, whole=whole), protections)
        yield from zip(protections, faults, strict=True)


def _fault(protection: Protection, *, whole: bool) -> str:
    if whole:
        with _copy(()) as root:
            ran = _run(protection.test, root)
        if ran.returncode != _PASSED:
            return f"its test fails with everything in place:\n{ran.stdout[-2000:]}"
    with _copy(protection.edits) as root:
        ran = _run(protection.test, root)
    if ran.returncode == _PASSED:
        return "its test passes all the same"
    name = protection.test.partition("[")[0]
    if ran.returncode != _FAILED or f"FAILED {name}" not in ran.stdout or "\nERROR " in ran.stdout:
        return f"its test could not be run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}"
    return ""


def _run(test: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a test with the modules below ``root``; processes that it starts take them from there too."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=line", test]
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)


@contextmanager
def _copy(edits: tuple[Edit, ...]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="qg-without-") as directory:
        root = Path(directory)
        for part in _PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, root / part, ignore=_MADE)
            else:
                shutil.copy(source, root / part)
        apply(edits, root)
        yield root
