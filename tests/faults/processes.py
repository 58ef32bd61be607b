"""The processes of a run that are no servers: gateways with their flushers, and callers. All are children."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

import psutil

from gateway.servers.children import Child
from gateway.servers.errors import ServerStartError

ROOT = Path(__file__).parents[2]

_START_S = 40.0
_ANSWER_S = 1.0
_STOP_S = 40.0


class Program:
    """One Python program of ours in a directory of its own; it dies with this process."""

    def __init__(self, name: str, directory: Path, words: Sequence[str], environ: Mapping[str, str]) -> None:
        directory.mkdir()
        self._child = Child(name, directory, ((signal.SIGTERM, _STOP_S),))
        pairs = [f"{variable}={text}" for variable, text in {"PYTHONPATH": str(ROOT), **environ}.items()]
        self._command = ["/usr/bin/env", *pairs, sys.executable, *words]

    @property
    def log_path(self) -> Path:
        """What it wrote to stdout and stderr."""
        return self._child.log_path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def log_paths(self) -> list[Path]:
        """Give all that it wrote in any of its lives, the oldest first."""
        older = self._child.directory.glob(f"{self.log_path.name}.[0-9]*")
        return [*sorted(older, key=lambda path: int(path.suffix[1:])), self.log_path]

    def start(self) -> None:
        """Start it and return at once. A log that has grown is begun anew; here every old one is kept."""
        self._child.start(self._command)
        old = self.log_path.with_suffix(".log.old")
        if old.exists():
            old.rename(self.log_path.with_suffix(f".log.{len(self.log_paths())}"))

    def kill(self) -> None:
        """End it without a word, it and nothing else."""
        self._child.kill()

    def end(self) -> int:
        """Ask it to end; give its exit code. Raises ServerStartError when it does not end in time."""
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(self.pid).send_signal(signal.SIGTERM)
        return self._child.wait_for_end(_STOP_S)

    def failure(self, what: str) -> ServerStartError:
        """Build the error that shows the end of its log."""
        return self._child.failure(what)

    def stop(self) -> None:
        """Make sure that it is gone."""
        if self._child.running:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(self.pid).resume()
        self._child.stop()


class Gateway(Program):
    """``quotagate serve`` on a port that stays the same over its lives."""

    def __init__(self, name: str, directory: Path, environ: Mapping[str, str]) -> None:
        self.port = _free_port()
        words = ("-m", "gateway", "serve", "--port", str(self.port))
        super().__init__(name, directory, words, environ)
        self._flushers: list[psutil.Process] = []

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def start_serving(self) -> None:
        """Start it and wait until it answers: that it is alive, for a database may be away for now."""
        self.start()
        self._child.wait_until(self._answers, _START_S)

    def kill(self) -> None:
        """Kill the gateway; its flusher is left to notice by itself."""
        self.flushers()
        super().kill()

    def flushers(self) -> list[psutil.Process]:
        """Give its flusher, as a list that may be empty."""
        if not self._child.running:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            found = [child for child in psutil.Process(self.pid).children() if _is_flusher(child)]
            self._flushers += found
            return found
        return []

    def stop(self) -> None:
        """Make sure that it is gone, and every flusher it ever had that was seen."""
        self.flushers()
        super().stop()
        for flusher in self._flushers:
            with contextlib.suppress(psutil.NoSuchProcess):
                flusher.kill()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _is_flusher(process: psutil.Process) -> bool:
    try:
        return "flush" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@contextlib.contextmanager
def standing_still(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Let processes stand still (SIGSTOP) for as long as the context lasts."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def family(pid: int) -> list[psutil.Process]:
    """Give a process and all below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
