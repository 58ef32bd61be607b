"""A gateway in a process of its own, as ``quotagate serve`` runs it, on servers that are there already."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from gateway.servers import RunningServers

_SERVES_ON = "Quotagate serves on "


@contextmanager
def gateway_process(servers: RunningServers) -> Iterator[str]:
    """Serve over HTTP on a free port for as long as the context lasts; give the URL."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")} | {
        "QUOTAGATE_REDIS_URL": servers.redis_url,
        "QUOTAGATE_DATABASE_URL": servers.database_url,
        "QUOTAGATE_FLUSH_INTERVAL_MS": "5",
        "QUOTAGATE_REPORT_WAIT_MS": "20000",  # a busy machine takes long to start its first flusher
        "QUOTAGATE_AUTH": "off",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--port", "0"],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield _url_of(process)
        finally:
            process.terminate()
            assert process.wait(30) == 0


def _url_of(process: subprocess.Popen[str]) -> str:
    """Read the gateway's words until it says where it serves; go on reading, so that it never blocks."""
    assert process.stderr is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_pump, args=(process.stderr, lines), daemon=True).start()
    said = []
    while True:
        line = lines.get(timeout=30)
        said.append(line)
        if line.startswith(_SERVES_ON):
            return line.removeprefix(_SERVES_ON).partition(",")[0]
        assert line, f"the gateway did not start: {said}"


def _pump(stream: IO[str], lines: queue.Queue[str]) -> None:
    # What stands for sys.stderr at the moment may be a test's own, which it reads, and closes.
    stderr = sys.__stderr__
    assert stderr is not None
    for line in stream:
        lines.put(line.rstrip("\n"))
        stderr.write(line)
    lines.put("")
