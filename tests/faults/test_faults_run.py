"""Less than a minute of trouble on real processes, from a fixed seed: nothing is lost, nothing doubled.

Longer runs are for ``python -m tests.faults``.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults.processes import ROOT

SEED = 20261121
MINUTES = 0.6
BOUND_S = 100


@pytest.mark.slow
def test_nothing_is_lost_whatever_is_killed_paused_cut_off_or_forgotten() -> None:
    words = ("--minutes", str(MINUTES), "--seed", str(SEED), "--with-losing")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "violations   0" in done.stdout
