"""What the scenarios share: commands that never outlive their test, and a directory for data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command, Run


@pytest.fixture
def run() -> Iterator[Run]:
    """Run commands; whatever still runs at the end of the test is killed."""
    commands: list[Command] = []

    def start(*arguments: str, **environ: str) -> Command:
        command = Command(list(arguments), {f"QUOTAGATE_{name}": text for name, text in environ.items()})
        commands.append(command)
        return command

    yield start
    for command in commands:
        command.end()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory that no server has used yet."""
    return tmp_path / "data"
