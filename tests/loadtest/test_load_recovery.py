"""The measuring of the fence's pause, with few accounts and once: it runs, and says all that it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_each_kind_of_loss_is_measured() -> None:
    words = ("--accounts", "130", "--times", "1")
    command = [sys.executable, "-m", "loadtest.recovery", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    kinds = ("scripts forgotten", "Redis killed, nothing lost", "everything forgotten")
    for kind, line in zip(kinds, done.stdout.splitlines(), strict=True):
        assert "130 accounts" in line
        assert kind in line
        assert line.endswith("of 1")
