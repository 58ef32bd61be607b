"""Keeps the embedded servers running: one that dies under its gateway is started again. Stops nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import structlog

from gateway.servers import ServersError
from gateway.servers.server import Server

_log = structlog.get_logger("quotagate.servers")

_LOOK_EVERY_S = 0.1
_PAUSE_FIRST_S, _PAUSE_LAST_S = 0.1, 10.0
_HEALTHY_LOOKS = 600  # alive for so many looks, the next death is the first again


@contextmanager
def kept_running(servers: Iterable[tuple[str, Server]]) -> Iterator[None]:
    """Start again, with pauses that grow, whichever of the servers ends during the block."""
    done = threading.Event()
    keepers = [
        threading.Thread(target=_keep, args=(name, server, done), name=f"keeper of {name}")
        for name, server in servers
    ]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        done.set()
        for keeper in keepers:
            keeper.join()


def _keep(name: str, server: Server, done: threading.Event) -> None:
    pause_s, looks = _PAUSE_FIRST_S, 0
    while not done.wait(_LOOK_EVERY_S):
        if server.running:
            looks += 1
            continue
        if looks >= _HEALTHY_LOOKS:
            pause_s = _PAUSE_FIRST_S
        looks = 0
        _log.error("embedded_server_died", server=name, log=str(server.log_path), restart_in_s=pause_s)
        if done.wait(pause_s):
            return
        pause_s = min(pause_s * 2, _PAUSE_LAST_S)
        _restart(name, server.kill, server.start)


def _restart(name: str, clean_up: Callable[[], None], start: Callable[[], None]) -> None:
    clean_up()  # what it left of its locks and sockets
    try:
        start()
    except (ServersError, OSError) as error:
        _log.error("embedded_server_not_started", server=name, reason=str(error))
    else:
        _log.warning("embedded_server_restarted", server=name)
