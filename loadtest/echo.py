"""The bare ASGI echo: what the HTTP server itself costs on the settings of the gateway. Nothing else."""

from __future__ import annotations

import asyncio
import socket
import sys
from functools import partial
from typing import Any

import uvicorn
import uvloop

from gateway.running.http_server import server_config
from gateway.settings import Settings

_BACKLOG = 2048
ANNOUNCED = "Echo serves on "


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request with its own body."""
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


def config() -> uvicorn.Config:
    """Give the options of the gateway's own server, with the protocol that uvicorn brings."""
    return server_config(echo, Settings().drain_seconds, http="httptools")


async def _serve() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listening:
        host, port = listening.getsockname()
        sys.stderr.write(f"{ANNOUNCED}http://{host}:{port},\n")
        sys.stderr.flush()
        server = uvicorn.Server(config())
        asyncio.get_running_loop().add_reader(sys.stdin, partial(setattr, server, "should_exit", True))
        await server.serve(sockets=[listening])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
