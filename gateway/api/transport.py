"""One write for each answer that uvicorn gives: head and body sent together. Nothing is read here.

uvicorn writes the head as soon as the application gives it and the body after it: two calls of the kernel,
two packets, and a client that is woken for a head without a body. That is about a tenth of a reserve.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.api.outbox import Outbox

_HEAD = b"HTTP/1.1 "


class JoinedWrites(asyncio.Transport):
    """A transport that keeps the head of an answer until its body comes, at most one turn of the loop.

    What waits in the outbox is sent before. Everything but writing and closing is the transport's behind it.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._outbox = outbox
        self._kept: Any = b""
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]  # no call between
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]
        self.set_protocol = transport.set_protocol  # type: ignore[method-assign]

    def write(self, data: Any) -> None:
        """Send, together with the head that was kept; to a client that is gone, nothing."""
        if self.is_closing():  # uvicorn hears of that a turn later, and uvloop takes it for a mistake
            self._kept = b""
        elif self._kept:
            data, self._kept = self._kept + data, b""
            self._send(data)
        elif data.startswith(_HEAD):
            self._kept = data
            self._loop.call_soon(self._flush)
        else:
            self._send(data)

    def close(self) -> None:
        """Send what was kept, and close."""
        self._flush()
        self._outbox.send()
        self._transport.close()

    def _send(self, data: Any) -> None:
        self._outbox.send()
        self._transport.write(data)

    def _flush(self) -> None:
        """Send a head whose body did not follow at once, as in a stream or an answer to HEAD."""
        if self._kept:
            self.write(b"")
