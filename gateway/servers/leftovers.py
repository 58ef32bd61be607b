"""Finds and stops servers of ours that outlived their gateway. Never touches a process that is not ours."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.servers.errors import ServerStartError

_POLL_S = 0.01


def read_pid(pid_file: Path) -> int | None:
    """Read the pid in the first line of a pid file; None when there is no file or no pid in it."""
    try:
        first = pid_file.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    except FileNotFoundError:
        return None
    return int(first) if first.isascii() and first.isdecimal() else None


def serves(pid: int, directory: Path) -> bool:
    """Whether process ``pid`` is alive and was started with ``directory`` in its arguments.

    A pid alone proves nothing: after a crash, and always after a container's restart, an old pid may
    belong to anybody.
    """
    return re.search(rf"{re.escape(str(directory))}(?=[/\s]|$)", _command_of(pid)) is not None


def stop_leftover(
    pid: int, name: str, directory: Path, steps: Sequence[tuple[signal.Signals, float]]
) -> None:
    """Stop the leftover server ``pid`` of ``directory`` by signals of growing strength.

    Args:
        pid: the process.
        name: what to call it in an error.
        directory: the directory it serves.
        steps: signals, each with the seconds to wait for its effect.

    Raises:
        ServerStartError: it may not be stopped, or is still there after the last signal.
    """
    for number, patience_s in steps:
        if _gone_after(pid, number, directory, patience_s):
            return
    raise ServerStartError(f"{name}: process {pid} still serves {directory} and does not stop")


def _gone_after(pid: int, number: signal.Signals, directory: Path, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        message = f"process {pid} of another user serves {directory}: stop it first"
        raise ServerStartError(message) from error
    while serves(pid, directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _command_of(pid: int) -> str:
    """Read a process's command line; empty for one that is gone, a zombie or hidden from us."""
    if sys.platform == "linux":
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return ""
        return os.fsdecode(words.replace(b"\0", b"\n"))
    else:  # noqa: RET505 - mypy sees a platform's branch only so
        shown = subprocess.run(  # noqa: S603 - a fixed program and a number
            ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)],
            capture_output=True,
            check=False,
        )
        return os.fsdecode(shown.stdout)
