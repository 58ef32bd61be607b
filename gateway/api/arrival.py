"""How a request may arrive: bounded in size beside its body, and in time. What it says is read elsewhere.

The parser keeps a header until it is whole, and uvicorn waits for the rest of a request for ever: one caller
without a key could take all memory with a head that never ends, or every connection by saying nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.api.offers import PlainProtocol
from gateway.api.problems import refused
from gateway.errors import MeterValidationError

OVERHEAD_MAX_BYTES = 65_536
ARRIVAL_S = 60.0


class BoundedArrival(PlainProtocol):
    """One connection whose requests must arrive soon, and with little that is not their body.

    From the piece on that follows the one in which a request begins, at most ``OVERHEAD_MAX_BYTES`` may come
    in a row that bring nothing of a body (431). A request must be here whole ``ARRIVAL_S`` after it began, or
    twice that where others came just before it (408).
    """

    arrival_s = ARRIVAL_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving = True  # whoever connects is about to ask
        self._begun = 0
        self._steps = 0
        self._overhead_bytes = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to serve a connection."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._wait_no_more()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request, or of several."""
        steps = self._steps
        super().data_received(data)
        if not self._arriving:
            if self._patience is not None:
                self._wait_no_more()
            return
        if self._patience is None:
            self._wait()
        self._overhead_bytes = self._overhead_bytes + len(data) if steps == self._steps else 0
        if self._overhead_bytes > OVERHEAD_MAX_BYTES:
            self._refuse(431, "headers_too_large", f"headers must be at most {OVERHEAD_MAX_BYTES} bytes")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._begins()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to serve with the headers as they are now."""
        super().on_headers_complete()
        if not self.parser.should_upgrade():  # else its head is read again
            # Fields after the body would be taken for headers, and nobody before us has checked them as such.
            self.headers = []

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; whether that becomes too long is found where bodies are read."""
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note that the request is here whole."""
        self._arriving = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, be it a body; who waits for the rest of that hears that it is gone."""
        self._refuse(400, "malformed_request", msg, says_nothing_else=self._is_about_a_body())

    def _begins(self) -> None:
        self._arriving = True
        self._begun += 1
        self._steps += 1

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.arrival_s, self._lose_patience, self._begun)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self, begun: int) -> None:
        self._patience = None
        if self._begun > max(begun, 1):
            self._wait()
        else:
            self._refuse(408, "request_timeout", f"a request must arrive within {self.arrival_s:g} seconds")

    def _refuse(self, status: int, code: str, detail: str, *, says_nothing_else: bool = False) -> None:
        """Say why, where nothing else is on its way to somebody who asks, and close the connection."""
        if self.transport.is_closing():
            return
        if says_nothing_else or self._says_nothing_else():
            answer = refused(MeterValidationError(detail, code, status))
            lines = [b"%b: %b\r\n" % header for header in answer.headers]
            length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(answer.body)
            self.transport.write(b"".join((STATUS_LINE[status], *lines, length, answer.body)))
        self.transport.close()

    def _is_about_a_body(self) -> bool:
        """Whether what arrives is the body of the only request that waits for an answer, with none begun."""
        cycle = self.cycle
        if not isinstance(cycle, RequestResponseCycle) or self.pipeline:
            return False
        return cycle.more_body and not cycle.response_started

    def _says_nothing_else(self) -> bool:
        return self._begun > 0 and (self.cycle is None or self.cycle.response_complete)
