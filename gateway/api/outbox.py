"""Sends the answers of one turn of the loop right after each other, in their order. None is made here.

Every write wakes the client it is for, who may take the processor and what its caches hold from whoever makes
up the next answer. Where all of them are made before the first is sent, a busy server answers more.
"""

from __future__ import annotations

import asyncio

_ENOUGH = 16  # answers that wait for others: more would keep the first of them waiting for too long


class Outbox:
    """What the connections of one server send at the next turn of their loop, or when it is enough."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, data: bytes) -> None:
        """Send this soon."""
        waiting = self._waiting
        if not waiting:
            asyncio.get_running_loop().call_soon(self.send)
        waiting.append((transport, data))
        if len(waiting) >= _ENOUGH:
            self.send()

    def send(self) -> None:
        """Send all that waits. Whoever writes to one of the transports itself must have this done before."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():  # else its client is gone, and uvloop takes it for a mistake
                transport.write(data)
