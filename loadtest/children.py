"""The processes a run starts: servers that say where they serve, and workers that are told what to load."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from queue import Empty, Queue
from typing import IO, Any, Self

import msgspec

_START_S = 30.0
_STOP_S = 30.0


class ChildError(Exception):
    """A process did not do what it was started for; the message has its last words."""


@contextmanager
def announcing(
    module: str, *words: str, phrase: str, environ: Mapping[str, str]
) -> Iterator[tuple[int, str]]:
    """Run ``python -m module words`` until the end of the context; give its process id and URL.

    ``phrase`` is what it writes to stderr before its URL and a comma. It must end with its input too: we may
    be told to end before we know that it has begun.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
    command = [sys.executable, "-m", module, *words]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env={**kept, **environ}, text=True, **pipes) as process:
        try:
            yield process.pid, _url_of(process.stderr, phrase, module)
        finally:
            _stop(process)


def gateway(environ: Mapping[str, str]) -> AbstractContextManager[tuple[int, str]]:
    """Run ``quotagate serve`` on a free port until the end of the context; give its process id and URL."""
    words = ("serve", "--port", "0", "--lifeline")
    return announcing("gateway", *words, phrase="Quotagate serves on ", environ=environ)


def _url_of(stream: IO[str] | None, phrase: str, module: str) -> str:
    """Read a process's words until it says where it serves; go on reading, so that it never blocks."""
    lines: Queue[str] = Queue()
    threading.Thread(target=_pump, args=(stream, lines), daemon=True).start()
    said: list[str] = []
    try:
        while not said or said[-1]:
            said.append(lines.get(timeout=_START_S))
            if said[-1].startswith(phrase):
                return said[-1].removeprefix(phrase).partition(",")[0]
    except Empty:
        pass  # it neither serves nor ends: the same error as for one that ended
    raise ChildError("\n".join([f"{module} did not start:", *said]))


def _pump(stream: IO[str] | None, lines: Queue[str]) -> None:
    for line in stream or ():
        lines.put(line.rstrip("\n"))
    lines.put("")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Worker:
    """A process of ``loadtest.worker``: does one job after the other; a context manager."""

    def __init__(self, name: str, *urls: str) -> None:
        self._name = name
        command = [sys.executable, "-m", "loadtest.worker", name, *urls]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def do(self, **job: Any) -> Any:
        """Do a job and give its result.

        Raises:
            ChildError: the worker ended instead; its own words are on stderr.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("a worker has both pipes")
        self._process.stdin.write(msgspec.json.encode(job) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise ChildError(f"the worker {self._name} ended while it did {job}")
        return msgspec.json.decode(line)["result"]
