"""How a connection is served: hot verbs from the parser straight to their endpoint, all else by uvicorn.

A POST of a hot verb on a kept connection, whole and small, needs none of what uvicorn prepares for any ASGI
application: that preparation took as long as the verb itself. Whatever is less plain (a query, chunks, an
upgrade, a request before the last one is answered) takes uvicorn's way, to the same endpoints.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from gateway.api.arrival import BoundedArrival
from gateway.api.endpoint import Endpoint, Pairs
from gateway.api.fast import FastLane
from gateway.api.headers import Headers
from gateway.api.heads import header_lines
from gateway.api.problems import Header, Reply
from gateway.api.transport import JoinedWrites

_MAX_DIGITS = 7
_MAX_BYTES = 65_536  # longer bodies come rarely, and in pieces
_TICK_S = 0.001
_OK = 200


class LaneRequest:
    """One request on the lane. It stands where uvicorn keeps its own, and is asked the same two questions.

    Attributes:
        lines: its header lines, where they may be learnt from its answer; else b"".
        task: serves it.
    """

    lines = b""
    keep_alive = True
    response_complete = False
    task: asyncio.Task[None]

    def __init__(
        self, endpoint: Endpoint, hold_id: str | None, headers: Headers, pairs: Pairs, body: bytes = b""
    ) -> None:
        self.endpoint = endpoint
        self.hold_id = hold_id
        self.headers = headers
        self.pairs = pairs
        self.body = body


class HttpProtocol(BoundedArrival):
    """One connection: give it to ``uvicorn.Config`` as ``http``, with its lane bound."""

    cycle: Any  # uvicorn's own, or a LaneRequest

    def __init__(
        self,
        lane: FastLane,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._lane = lane
        self._heads = lane.heads
        self._outbox = lane.outbox
        self._request: LaneRequest | None = None
        self._idle_since: float | None = None
        self._raw: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to serve a connection."""
        self._raw = transport
        super().connection_made(JoinedWrites(transport, self.loop, self._outbox))

    def connection_lost(self, exc: Exception | None) -> None:
        """End: what is on the lane runs to its end, and nobody is answered."""
        if isinstance(self.cycle, LaneRequest):
            self.cycle = None  # as before the first request
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request, or of several; or a whole one whose head is known."""
        if self._arriving or not self._is_free():
            super().data_received(data)
        elif (request := self._known_request(data)) is not None:
            self.cycle = request
            self._begun += 1
            self._idle_since = None
            self._start(request)
        else:
            before = self.cycle
            super().data_received(data)
            after = self.cycle
            if isinstance(after, LaneRequest) and after is not before and not self._arriving:
                after.lines = header_lines(data, self.url, after.body)

    def eof_received(self) -> None:
        """Say what is to be said to a client that ends its side: the connection is closed after this."""
        self._outbox.send()
        super().eof_received()

    def on_message_begin(self) -> None:
        """Begin a request; what uvicorn prepares waits until it is known that it is needed."""
        self._begins()
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Choose the way."""
        self._request = self._plain_request()
        if self._request is not None:
            self.cycle = self._request
            return
        url, headers = self.url, self.headers
        super(BoundedArrival, self).on_message_begin()  # it has begun already
        for name, value in headers:
            super().on_header(name, value)
        self.url = url
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._request is None:
            super().on_body(body)
        else:
            self._steps += 1
            self._request.body += body

    def on_message_complete(self) -> None:
        """Serve the request that is here whole."""
        request, self._request = self._request, None
        if request is None:
            super().on_message_complete()
            return
        self._arriving = False
        self._start(request)

    def _start(self, request: LaneRequest) -> None:
        request.task = self.loop.create_task(self._serve(request))
        self.tasks.add(request.task)

    def _is_free(self) -> bool:
        """Whether a request of now may be answered as soon as its answer is there."""
        before = self.cycle
        return (before is None or before.response_complete) and not self.flow.write_paused

    def _known_request(self, data: bytes) -> LaneRequest | None:
        known = self._heads.read(data)
        if known is None:
            return None
        target, head, body = known
        found = self._lane.posted_to(target)
        if found is None:
            return None
        endpoint, hold_id = found
        return LaneRequest(endpoint, hold_id, head.headers, head.pairs, body)

    def _plain_request(self) -> LaneRequest | None:
        parser = self.parser
        if parser.get_method() != b"POST" or not self._is_free():
            return None
        found = self._lane.posted_to(self.url)
        if found is None or not parser.should_keep_alive() or parser.should_upgrade():
            return None
        headers = dict(self.headers)
        if b"expect" in headers or not _is_short(headers, found[0].max_body_bytes):
            return None
        return LaneRequest(*found, headers, self.headers)

    async def _serve(self, request: LaneRequest) -> None:
        try:
            request_id, answer = await request.endpoint.posted(
                request.headers, request.pairs, request.body, request.hold_id
            )
            if request.lines and answer.status == _OK:
                self._heads.learn(request.lines, request.headers, request.pairs, len(request.body))
            self._send(request, request_id, answer)
        finally:
            self.tasks.discard(request.task)

    def _send(self, request: LaneRequest, request_id: bytes, answer: Reply) -> None:
        request.response_complete = True
        raw = self._raw
        if raw.is_closing():
            return
        self._outbox.put(raw, written(answer, request_id, close=not request.keep_alive))
        if not request.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Go on with what came meanwhile, or wait for more, not for ever."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self.flow.resume_reading()
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _begins(self) -> None:
        # The timer is left to find that out: one for each request cost more than reading its headers.
        self._idle_since = None
        super()._begins()

    def _unset_keepalive_if_required(self) -> None:
        """Leave the timer alone: a blank line is no request."""

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has waited long enough for another request."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > _TICK_S:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()


def _is_short(headers: Headers, max_bytes: int) -> bool:
    declared = headers.get(b"content-length", b"")
    if not declared.isdigit() or len(declared) > _MAX_DIGITS:
        return False
    return int(declared) <= min(_MAX_BYTES, max_bytes)


def written(answer: Reply, request_id: bytes, *, close: bool) -> bytes:
    """Give an answer as it stands on the wire."""
    body = answer.body
    return b"".join((_head(answer.status, answer.headers, len(body), close), request_id, b"\r\n\r\n", body))


@lru_cache(maxsize=1024)
def _head(status: int, headers: tuple[Header, ...], body_bytes: int, close: bool) -> bytes:
    """Give the part of an answer that many have in common, up to its request's id."""
    lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers)]
    if close:
        lines.append(b"connection: close\r\n")
    return b"%bcontent-length: %d\r\nx-request-id: " % (b"".join(lines), body_bytes)
