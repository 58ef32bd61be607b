"""What a level of durability needs of the servers while it is measured: a replica, a file synced at once.

Nothing is measured here.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.domain.durability import FSYNC, JOURNAL, LEDGER, REPLICATED
from gateway.servers import start_redis
from loadtest.scene import Scene

_REPLICA_S = 30


class Level(NamedTuple):
    """A level as calls name it, and how Redis is set meanwhile."""

    durability: str
    appendfsync: str = "everysec"


LEVELS = {
    "journal": Level(JOURNAL),
    "replicated": Level(REPLICATED),
    "fsync": Level(FSYNC),
    "fsync, appendfsync always": Level(FSYNC, "always"),
    "ledger": Level(LEDGER),
}


def is_there(scene: Scene, label: str) -> bool:
    """Whether the Redis of the scene can reach the level."""
    if LEVELS[label].durability != FSYNC:
        return True
    return bool(scene.client.command_list(pattern="waitaof"))


@contextmanager
def prepared(scene: Scene, label: str) -> Iterator[None]:
    """Set the servers for the level until the end of the context."""
    level = LEVELS[label]
    with ExitStack() as opened:
        scene.client.config_set("appendfsync", level.appendfsync)
        opened.callback(scene.client.config_set, "appendfsync", "everysec")
        if level.durability == REPLICATED:
            opened.enter_context(_replica(scene))
        yield


@contextmanager
def _replica(scene: Scene) -> Iterator[None]:
    """Run a replica on this machine until the end of the context."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    scene.client.config_set("port", port)
    scene.client.config_set("repl-diskless-sync-delay", 0)
    with tempfile.TemporaryDirectory(prefix="qg-load-") as directory:
        words = ("--replicaof", f"127.0.0.1 {port}")
        replica = start_redis(scene.redis_provider, Path(directory) / "data", arguments=words)
        try:
            _wait_for_replica(scene)
            yield
        finally:
            replica.stop()
            scene.client.config_set("port", 0)


def _wait_for_replica(scene: Scene) -> None:
    # A replica that is still loading acknowledges nothing.
    scene.client.set("loadtest:replica", 1)
    deadline = time.monotonic() + _REPLICA_S
    while scene.client.wait(1, 100) < 1:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no replica came within {_REPLICA_S} s")
    scene.client.delete("loadtest:replica")
