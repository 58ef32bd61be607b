"""Where the command begins, also as ``python -m gateway``: loads the command line, runs it. Does no work."""

from __future__ import annotations

import os
import signal
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Run the command line. Whoever interrupts it before it is loaded is not shown where that was."""
    signal.signal(signal.SIGINT, _leave)
    from gateway.cli import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
