"""Where the command begins, also as ``python -m gateway``: loads the command line, runs it. Does no work."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

_INTERRUPTED = 130


class _Unheard(io.BufferedWriter):
    """Writes as far as that works: a full disk or a reader that is gone ends nobody's work.

    It carries what people are told beside the answer, and the log. Bytes, not text: with some encodings the
    command line writes by a text layer of its own.
    """

    def write(self, data: Any) -> int:  # whatever has a buffer: typing has no name for that in 3.11
        with suppress(OSError):
            super().write(data)
        return len(data)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def main() -> None:
    """Run the command line. Whoever interrupts it before it is loaded is not shown where that was."""
    _open_closed_streams()
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # what this terminal cannot show is no reason to show nothing
        sys.stdout.reconfigure(errors="replace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _unheard(sys.stderr)
    signal.signal(signal.SIGINT, _leave)
    from gateway.cli import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    run()


def _open_closed_streams() -> None:
    """Let a standard stream that was closed before us lead nowhere: a socket would take its number else."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _unheard(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    binary = _Unheard(io.FileIO(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(binary, stream.encoding, stream.errors, line_buffering=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
