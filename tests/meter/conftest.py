"""A meter over a decider and reports that say what the test wants, and note what they were asked."""

from __future__ import annotations

import pytest
from acting import Notes, Script

from gateway.meter import Backend, Meter
from gateway.reconcile.reconciler import Reconciler


@pytest.fixture
def script() -> Script:
    """Both sides of the backend: what was asked, and what is answered."""
    return Script()


@pytest.fixture
def notes() -> Notes:
    """The observer of the backend."""
    return Notes()


@pytest.fixture
def meter(script: Script, notes: Notes) -> Meter:
    """A meter of the namespace acme."""
    reconciler = Reconciler(script, script, script, wait_s=0.05)
    return Meter(Backend(script, script, notes, reconciler, report_wait_s=0.05), "acme")
