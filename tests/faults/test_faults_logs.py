"""The logs of a run: whatever a program said in any of its lives is read at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.servers import children
from tests.faults.books import read_log
from tests.faults.processes import Program


def test_what_was_said_in_every_life_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_LOG_TURN_BYTES", 1)
    program = Program(
        "echo",
        tmp_path / "echo",
        ["-c", "import os; print('{\"event\": \"' + os.environ['LIFE'] + '\"}')"],
        {},
    )
    for life in ("first", "second", "third"):
        monkeypatch.setenv("LIFE", life)
        program.start()
        assert program._child.wait_for_end(20) == 0
    assert [event["event"] for event in read_log(program.log_paths())] == ["first", "second", "third"]
