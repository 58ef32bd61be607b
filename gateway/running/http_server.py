"""What every HTTP server of ours has in common: its socket, uvicorn's options, signals left to us."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from gateway.settings import SettingsError

_BACKLOG = 2048


class Server(uvicorn.Server):
    """uvicorn, with signals left to us: it would end the process before the rest is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def server_config(app: Any, drain_seconds: int, **more: Any) -> uvicorn.Config:
    """Give the options with which an ASGI application is served; ``more`` are further ones of uvicorn's."""
    return uvicorn.Config(
        app,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=drain_seconds,
        **more,
    )


def listen(host: str, port: int, advice: str) -> socket.socket:
    """Listen on an address; port 0 takes a free one.

    Raises SettingsError, with the advice, when the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise SettingsError([f"cannot listen on {place}: {_why(error)}; {_told(error, advice)}"]) from error


def url_of(listening: socket.socket) -> str:
    """Give the URL under which a socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _told(error: OSError, advice: str) -> str:
    """Give the advice where the port is the matter; else the address is."""
    if error.errno == errno.EADDRINUSE:
        return f"is another one running? {advice}"
    return advice if error.errno == errno.EACCES else "is that an address of this machine?"


def _why(error: OSError) -> str:
    """Give what the system said, without the address that is added to it."""
    return str(error.strerror or error).partition(" (while")[0]
