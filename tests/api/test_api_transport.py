"""Answers leave in one write, and nothing is kept longer than a turn of the loop."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.api.outbox import Outbox
from gateway.api.transport import JoinedWrites


class Recorded(asyncio.Transport):
    """A transport that remembers what was written to it, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        if self.closed:
            raise RuntimeError  # as uvloop does
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_head_and_body_leave_together() -> None:
    behind = Recorded()
    transport = JoinedWrites(behind, asyncio.get_running_loop(), Outbox())
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.write(b"{}")
    assert behind.written == [b"HTTP/1.1 200 OK\r\n\r\n{}"]


async def test_a_head_without_a_body_leaves_in_the_next_turn() -> None:
    behind = Recorded()
    transport = JoinedWrites(behind, asyncio.get_running_loop(), Outbox())
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    transport.write(b"late")
    assert behind.written == [b"HTTP/1.1 200 OK\r\n\r\n", b"late"]


async def test_closing_sends_what_was_kept_first() -> None:
    behind = Recorded()
    transport = JoinedWrites(behind, asyncio.get_running_loop(), Outbox())
    transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    transport.close()
    assert behind.written == [b"HTTP/1.1 400 Bad Request\r\n\r\n"]
    assert behind.closed


async def test_what_nobody_hears_any_more_is_not_said_and_is_no_mistake() -> None:
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    behind = Recorded()
    transport = JoinedWrites(behind, asyncio.get_running_loop(), Outbox())
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    behind.close()  # as at the end of the client's input
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.write(b"{}")
    transport.close()
    asyncio.get_running_loop().set_exception_handler(None)
    assert behind.written == []
    assert faults == []
