"""Freezes a real Postgres as a hanging host would: each process stands still, and no connection breaks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.servers.postgres_server import PostgresServer


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Let the server and all its backends stand still for the block."""
    postmaster = int((server.directory / "data" / "postmaster.pid").read_text().splitlines()[0])
    if not _is_postgres(postmaster):  # its own namespace's number
        postmaster = server.pid
    os.kill(postmaster, signal.SIGSTOP)  # it starts no other from here on, and none is let go
    stopped = [postmaster, *children(postmaster)]
    for pid in stopped[1:]:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            # One that had ended already waited for the postmaster, which goes on first and lets it go.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _is_postgres(pid: int) -> bool:
    name = Path(f"/proc/{pid}/comm")
    return name.exists() and name.read_text().startswith("postgres")


def children(parent: int) -> Iterator[int]:
    """Give the processes that this one started and that are still there."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(words[1]) == parent:
            yield int(stat.parent.name)
