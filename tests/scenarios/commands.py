"""Processes of the command line, for scenarios: started, listened to, killed and stopped."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

_SERVES_ON = "Quotagate serves on "
_START_S = 90
_STOP_S = 30


def environment(**settings: str) -> dict[str, str]:
    """Give the environment of a command: this process's, with these settings of Quotagate and no others."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
    return clean | {f"QUOTAGATE_{name}": text for name, text in settings.items()}


def free_port() -> str:
    """Find a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


class Command:
    """One running ``quotagate`` command and what it has said so far."""

    def __init__(self, arguments: list[str], environ: dict[str, str]) -> None:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            env=clean | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def wait_for(self, beginning: str) -> str:
        """Wait until it says a line that begins so; give the line. Other lines do not prolong the wait."""
        deadline = time.monotonic() + _START_S
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"it never said {beginning!r}: {self.said}") from None
            if line.startswith(beginning):
                return line
            assert line, f"it ended: {self.said}"

    def wait_for_event(self, event: str) -> dict[str, Any]:
        """Wait until it logs an event; give the line's fields."""
        while True:
            fields: dict[str, Any] = json.loads(self.wait_for("{"))
            if fields["event"] == event:
                return fields

    def url(self) -> str:
        """Wait until it serves, and say where."""
        self.wait_for(_SERVES_ON)
        return self.url_said()

    def url_said(self) -> str:
        """Say where it serves, once it has said so."""
        line = next(line for line in self.said if line.startswith(_SERVES_ON))
        return line.removeprefix(_SERVES_ON).partition(",")[0]

    def words(self) -> str:
        """Give all it wrote, when it has ended: its answer, and what it had to say beside."""
        assert self.process.stdout is not None
        answer = self.process.stdout.read()
        self._reader.join(_STOP_S)
        return (answer + "\n".join(self.said)).strip()

    def kill(self) -> None:
        """End it without a word, it and nothing else."""
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def stop(self) -> int:
        """Ask it to end, as an operator would; give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        code = self.process.wait(_STOP_S)
        self._reader.join(_STOP_S)
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        self.process.stderr.close()
        self.process.stdout.close()
        return code

    def end(self) -> None:
        """Make sure that nothing is left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self._ended()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.said.append(line.rstrip("\n"))
            self._lines.put(line.rstrip("\n"))
        self._lines.put("")


Run = Callable[..., Command]
