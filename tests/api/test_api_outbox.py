"""Answers that are sent together: all of them, in order, and none later than the next turn of the loop."""

from __future__ import annotations

import asyncio

from test_api_transport import Recorded

from gateway.api.outbox import Outbox
from gateway.api.transport import JoinedWrites


async def test_what_is_put_leaves_in_the_next_turn_in_its_order() -> None:
    outbox, first, second = Outbox(), Recorded(), Recorded()
    outbox.put(first, b"one")
    outbox.put(second, b"two")
    outbox.put(first, b"three")
    assert first.written == second.written == []
    await asyncio.sleep(0)
    assert (first.written, second.written) == ([b"one", b"three"], [b"two"])


async def test_enough_leaves_at_once_and_the_rest_later() -> None:
    outbox, behind = Outbox(), Recorded()
    for number in range(17):
        outbox.put(behind, b"%d" % number)
    assert behind.written == [b"%d" % number for number in range(16)]
    await asyncio.sleep(0)
    assert behind.written[16:] == [b"16"]


async def test_a_client_that_is_gone_keeps_nobody_from_an_answer() -> None:
    outbox, gone, there = Outbox(), Recorded(), Recorded()
    outbox.put(gone, b"one")
    outbox.put(there, b"two")
    gone.close()
    await asyncio.sleep(0)
    assert (gone.written, there.written) == ([], [b"two"])


async def test_what_is_written_at_once_leaves_after_what_was_put_before() -> None:
    outbox, behind = Outbox(), Recorded()
    transport = JoinedWrites(behind, asyncio.get_running_loop(), outbox)
    outbox.put(behind, b"one")
    transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    transport.write(b"{}")
    assert behind.written == [b"one", b"HTTP/1.1 400 Bad Request\r\n\r\n{}"]


async def test_closing_sends_what_was_put_before() -> None:
    outbox, behind = Outbox(), Recorded()
    transport = JoinedWrites(behind, asyncio.get_running_loop(), outbox)
    outbox.put(behind, b"one")
    transport.close()
    assert behind.written == [b"one"]
    assert behind.closed
