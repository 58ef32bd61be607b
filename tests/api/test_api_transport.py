"""Answers leave in one write, and nothing is kept longer than a turn of the loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import uvicorn

from gateway.api.transport import HttpProtocol, JoinedWrites


class Recorded(asyncio.Transport):
    """A transport that remembers what was written to it, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True


async def test_head_and_body_leave_together() -> None:
    behind = Recorded()
    transport = JoinedWrites(behind, asyncio.get_running_loop())
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.write(b"{}")
    assert behind.written == [b"HTTP/1.1 200 OK\r\n\r\n{}"]


async def test_a_head_without_a_body_leaves_in_the_next_turn() -> None:
    behind = Recorded()
    transport = JoinedWrites(behind, asyncio.get_running_loop())
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    transport.write(b"late")
    assert behind.written == [b"HTTP/1.1 200 OK\r\n\r\n", b"late"]


async def test_closing_sends_what_was_kept_first() -> None:
    behind = Recorded()
    transport = JoinedWrites(behind, asyncio.get_running_loop())
    transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    transport.close()
    assert behind.written == [b"HTTP/1.1 400 Bad Request\r\n\r\n"]
    assert behind.closed


async def app(scope: Any, _receive: Any, send: Any) -> None:
    body = scope["path"].encode()
    length = [(b"content-length", b"%d" % len(body))]
    streamed = scope["path"] == "/streamed"
    await send({"type": "http.response.start", "status": 200, "headers": [] if streamed else length})
    if streamed:
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, http=HttpProtocol, ws="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def exchanged(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_every_kind_of_answer_arrives_whole() -> None:
    async with served() as port:
        plain = await exchanged(port, b"GET /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        head = await exchanged(port, b"HEAD /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        streamed = await exchanged(port, b"GET /streamed HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        broken = await exchanged(port, b"nonsense\r\n\r\n")
        two = b"GET /a HTTP/1.1\r\nhost: h\r\n\r\nGET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
        pipelined = await exchanged(port, two)
    assert plain.startswith(b"HTTP/1.1 200 OK\r\n")
    assert plain.endswith(b"\r\n\r\n/a")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert streamed.endswith(b"\r\n\r\n9\r\n/streamed\r\n0\r\n\r\n")
    assert broken.startswith(b"HTTP/1.1 400 ")
    assert pipelined.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert pipelined.endswith(b"/b")
