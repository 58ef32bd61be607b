"""Where the command begins, also as ``python -m gateway``: loads the command line, runs it. Does no work."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

_INTERRUPTED = 130


class _Unheard(io.TextIOWrapper):
    """Writes to a stream as far as that works: a full disk or a reader that is gone ends nobody's work.

    It carries what people are told beside the answer, and the log. The stream itself is of no use afterwards.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        encoding, errors = stream.encoding, stream.errors
        super().__init__(stream.detach(), encoding, errors, line_buffering=True)

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

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
        sys.stderr = _Unheard(sys.stderr)
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
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
