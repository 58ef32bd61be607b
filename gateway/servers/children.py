"""The lifecycle of one child process: start, log, wait until ready, stop, kill. Knows no server's habits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

from gateway.servers.errors import ServerStartError
from gateway.servers.leftovers import read_pid, serves, stop_leftover

Account = Literal["same", "nobody"]

_LAUNCHER = Path(__file__).with_name("launch.py")
_POLL_S = 0.005
_KILL_WAIT_S = 10.0
_LOG_TURN_BYTES = 1 << 20
_TAIL_LINES = 20


class Child:
    """A server process in a directory of its own, with ``server.pid`` and ``server.log`` beside its data.

    Args:
        name: what to call it in messages, e.g. ``Valkey 8.1.8``.
        directory: absolute directory it serves; its path must occur in the command, by which a leftover
            is recognised.
        stop_steps: signals of growing strength, each with the seconds to wait for its effect. The first
            is also what Linux sends when this process dies.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        stop_steps: Sequence[tuple[signal.Signals, float]],
    ) -> None:
        self.name = name
        self.directory = directory
        self.log_path = directory / "server.log"
        self._pid_file = directory / "server.pid"
        self._stop_steps = tuple(stop_steps)
        self._process: subprocess.Popen[bytes] | None = None
        self._exited = threading.Event()
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and not self._exited.is_set()

    @property
    def pid(self) -> int:
        """The process id of the last start.

        Raises:
            RuntimeError: it was never started.
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def stop_leftover(self) -> None:
        """Stop a server that a dead gateway left behind on this directory, and forget its pid file."""
        pid = read_pid(self._pid_file)
        if pid is not None and serves(pid, self.directory):
            steps = (*self._stop_steps, (signal.SIGKILL, _KILL_WAIT_S))
            stop_leftover(pid, self.name, self.directory, steps)
        self._pid_file.unlink(missing_ok=True)

    def start(self, command: Sequence[str], *, typed: bytes = b"", account: Account = "same") -> None:
        """Start the command and return at once; its output goes to the log.

        Linux counts the starting *thread* as the parent whose death is signalled, so each child gets a
        thread that lives as long as it does; the same thread reaps it.

        Args:
            command: absolute path of the program and its arguments.
            typed: what the program reads as its input.
            account: ``nobody`` for a program that refuses to be root.

        Raises:
            ServerStartError: the operating system refused to start a process.
        """
        self._turn_log()
        self._process, self._exited = None, threading.Event()
        spawned: Future[subprocess.Popen[bytes]] = Future()
        threading.Thread(
            target=self._keep,
            args=(self._launched(command, account), typed, spawned, self._exited),
            name=f"keeper of {self.name}",
            daemon=True,
        ).start()
        try:
            self._process = spawned.result()
        except OSError as error:
            raise self.failure(f"could not be started ({error})") from error

    def wait_until(self, ready: Callable[[], bool], patience_s: float) -> None:
        """Wait until ``ready()``, which is asked every few milliseconds.

        Raises:
            ServerStartError: the process ended, or was not ready after ``patience_s`` seconds.
        """
        deadline = time.monotonic() + patience_s
        while not ready():
            if self._exited.wait(_POLL_S):
                raise self.failure("ended while starting")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {patience_s:g} s")

    def wait_for_end(self, patience_s: float) -> int:
        """Wait until the process has ended by itself and return its exit code.

        Raises:
            ServerStartError: it is still running after ``patience_s`` seconds.
        """
        if self._process is None or not self._exited.wait(patience_s):
            raise self.failure(f"did not end within {patience_s:g} s")
        code: int = self._process.returncode
        return code

    def stop(self) -> None:
        """Stop the process in its clean way, by force if that takes too long. Stopped already: nothing."""
        for number, patience_s in self._stop_steps:
            if not self.running:
                break
            self._send(number)
            self._exited.wait(patience_s)
        self.kill()

    def kill(self) -> None:
        """Kill the process (SIGKILL) and wait until it is gone; nothing when it is not running."""
        if self.running and self._process is not None:
            self._process.kill()
            if not self._exited.wait(_KILL_WAIT_S):
                raise RuntimeError(f"{self.name} (process {self.pid}) survives SIGKILL")
        self._pid_file.unlink(missing_ok=True)

    def failure(self, what: str) -> ServerStartError:
        """Build the error that says what happened and shows the end of the log."""
        return ServerStartError(f"{self.name} {what}; the end of {self.log_path}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the last lines written to the log since the last start."""
        if not self.log_path.exists():
            return "(no log)"
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:]) or "(empty)"

    def _launched(self, command: Sequence[str], account: Account) -> list[str]:
        death_signal = str(int(self._stop_steps[0][0]))
        python = [sys.executable, "-I", "-S", str(_LAUNCHER)]
        return [*python, str(os.getpid()), death_signal, str(self._pid_file), account, *command]

    def _keep(
        self,
        command: list[str],
        typed: bytes,
        spawned: Future[subprocess.Popen[bytes]],
        exited: threading.Event,
    ) -> None:
        try:
            process = self._spawn(command, typed)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            spawned.set_exception(error)
            return
        spawned.set_result(process)
        process.wait()
        exited.set()

    def _spawn(self, command: list[str], typed: bytes) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log, tempfile.TemporaryFile() as keyboard:
            keyboard.write(typed)
            keyboard.seek(0)
            return subprocess.Popen(  # noqa: S603 - the program was found and tried by providers
                command,
                stdin=keyboard,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=_environment(),
                start_new_session=True,
            )

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _turn_log(self) -> None:
        """Begin a new log when the old one has grown, keeping one old one."""
        size = self.log_path.stat().st_size if self.log_path.exists() else 0
        if size > _LOG_TURN_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.old"))
            size = 0
        self._log_start = size


def _environment() -> dict[str, str]:
    """Build the servers' environment: nothing that steers Postgres from outside, and no secrets of ours."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "QUOTAGATE_", "LC_"))
    }
    return {**kept, "LC_ALL": "C"}
