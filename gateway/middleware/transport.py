"""Transports for httpx2 that gate what passes: quota inside the SDKs of model providers, without a proxy.

What is held, charged and refused is decided where the middleware's is. A reply is passed on as it comes.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import httpx2

from gateway.errors import MeterValidationError
from gateway.middleware.asking import asking, is_completion
from gateway.middleware.at_once import AtOnceMeter, BlockingGate, BlockingMeter, at_once
from gateway.middleware.costs import LlmCosts
from gateway.middleware.forwarding import readable
from gateway.middleware.gate import TTL_SECONDS, Gate
from gateway.middleware.quota import Admission, Identify
from gateway.middleware.refusals import Refusal
from gateway.middleware.requests import Message, Request
from gateway.middleware.seams import QuotaMeter


class QuotaTransport(httpx2.BaseTransport):
    """Gates the requests of a blocking ``httpx2.Client``, such as the SDKs of OpenAI and Anthropic take.

    Args:
        meter: a ``MeterClient``.
        identify: says whose quota a request spends, as for ``QuotaMiddleware``.
        costs: estimates requests and reads what they cost.
        inner: sends the requests; by default ``httpx2.HTTPTransport``. It is closed with this one.
        ask_usage: whether OpenAI's streams are asked for their usage where the caller does not.
        on_unavailable: ``deny`` answers 503 when the meter cannot be reached; ``allow`` lets the request
            through, and charges it afterwards if the meter is back.
        ttl_seconds: how long a hold lives between two signs of life of the reply.

    Raises MeterValidationError for a meter that does not block.
    """

    def __init__(
        self,
        *,
        meter: BlockingMeter,
        identify: Identify,
        costs: LlmCosts | None = None,
        inner: httpx2.BaseTransport | None = None,
        ask_usage: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
        ttl_seconds: int = TTL_SECONDS,
    ) -> None:
        if inspect.iscoroutinefunction(meter.reserve):
            raise _wrong_meter("a MeterClient; AsyncQuotaTransport takes the others")
        self._inner = inner or httpx2.HTTPTransport()
        self._ask_usage = ask_usage
        known = costs or LlmCosts()
        self._admission = Admission(
            meter=AtOnceMeter(meter),
            identify=identify,
            estimate=known.estimate,
            usage=known.usage,
            on_unavailable=on_unavailable,
            ttl_seconds=ttl_seconds,
            gate=BlockingGate,
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, unless it is refused: then the answer is ours."""

        async def receive() -> Message:
            return _whole_body(request.read())

        kept = _Kept()
        asked = Request(_scope(request), receive, self._admission.max_body_bytes)
        gate = at_once(self._admission.admit(asked, kept))
        if gate is None:
            return self._inner.handle_request(request)
        if isinstance(gate, Refusal):
            return _refused(gate, request)
        try:
            body = at_once(asked.body()) if self._ask_usage and is_completion(asked.path) else None
            reply = self._inner.handle_request(_onward(request, body))
        except BaseException as error:
            # Whoever is interrupted leaves a model at work; an upstream that fails has done nothing.
            asked.left = not isinstance(error, Exception)
            at_once(gate.settle())
            raise
        at_once(gate.send(_start(reply)))
        if not gate.succeeded:
            # Before the caller can try again: no request holds twice.
            at_once(gate.settle())
        return kept.response(reply, _Passing(reply.stream, gate))

    def close(self) -> None:
        """Close what sends the requests."""
        self._inner.close()


class AsyncQuotaTransport(httpx2.AsyncBaseTransport):
    """Gates the requests of an ``httpx2.AsyncClient``; for the arguments see ``QuotaTransport``.

    ``meter`` is an ``AsyncMeterClient`` or a ``Meter``, or a function of no arguments that gives one;
    ``inner`` is by default ``httpx2.AsyncHTTPTransport``.

    Raises MeterValidationError for a meter that blocks.
    """

    def __init__(
        self,
        *,
        meter: QuotaMeter | Callable[[], QuotaMeter],
        identify: Identify,
        costs: LlmCosts | None = None,
        inner: httpx2.AsyncBaseTransport | None = None,
        ask_usage: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
        ttl_seconds: int = TTL_SECONDS,
    ) -> None:
        if not callable(meter) and not inspect.iscoroutinefunction(meter.reserve):
            raise _wrong_meter("an AsyncMeterClient or a Meter; QuotaTransport takes a MeterClient")
        self._inner = inner or httpx2.AsyncHTTPTransport()
        self._ask_usage = ask_usage
        known = costs or LlmCosts()
        self._admission = Admission(
            meter=meter,
            identify=identify,
            estimate=known.estimate,
            usage=known.usage,
            on_unavailable=on_unavailable,
            ttl_seconds=ttl_seconds,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, unless it is refused: then the answer is ours."""

        async def receive() -> Message:
            return _whole_body(await request.aread())

        kept = _Kept()
        asked = Request(_scope(request), receive, self._admission.max_body_bytes)
        gate = await self._admission.admit(asked, kept)
        if gate is None:
            return await self._inner.handle_async_request(request)
        if isinstance(gate, Refusal):
            return _refused(gate, request)
        try:
            body = await asked.body() if self._ask_usage and is_completion(asked.path) else None
            reply = await self._inner.handle_async_request(_onward(request, body))
        except BaseException as error:
            asked.left = not isinstance(error, Exception)
            await gate.settle()
            raise
        await gate.send(_start(reply))
        passing = _AsyncPassing(reply.stream, gate)
        if not gate.succeeded:
            await _settled_or_closed(gate, passing)
        return kept.response(reply, passing)

    async def aclose(self) -> None:
        """Close what sends the requests."""
        await self._inner.aclose()


class _Kept:
    """The server's side of the gate: it keeps the headers of the reply, ours among them."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._headers = message["headers"]

    def response(
        self, reply: httpx2.Response, stream: httpx2.SyncByteStream | httpx2.AsyncByteStream
    ) -> httpx2.Response:
        """Give the reply as the caller gets it."""
        return httpx2.Response(
            reply.status_code, headers=self._headers, stream=stream, extensions=reply.extensions
        )


class _Passing(httpx2.SyncByteStream):
    """The body of a reply on its way; what it cost is charged at its end, however it ends."""

    def __init__(self, body: Any, gate: Gate) -> None:
        self._body = body
        self._gate = gate

    def __iter__(self) -> Iterator[bytes]:
        try:
            for data in self._body:
                at_once(self._gate.send(_part(data)))
                yield data
        finally:
            at_once(self._gate.settle())

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            at_once(self._gate.settle())


class _AsyncPassing(httpx2.AsyncByteStream):
    """The same for those who await."""

    def __init__(self, body: Any, gate: Gate) -> None:
        self._body = body
        self._gate = gate

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._body:
                await self._gate.send(_part(data))
                yield data
        finally:
            await self._gate.settle()

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            await self._gate.settle()


def _scope(request: httpx2.Request) -> dict[str, Any]:
    """Give a request in the words in which the callers' functions see it behind a server, too."""
    raw_path, _, query = request.url.raw_path.partition(b"?")
    return {
        "type": "http",
        "method": request.method.upper(),
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "extensions": request.extensions,
    }


def _onward(request: httpx2.Request, body: bytes | None) -> httpx2.Request:
    """Give the request as it is sent: of the encodings it accepts, those whose replies can be read.

    A body that is given may be asked for its usage.
    """
    headers = request.headers.copy()
    headers["accept-encoding"] = readable(headers.get("accept-encoding", "").encode("latin-1")).decode()
    changed = None if body is None else asking(body)
    if changed is not None:
        headers["content-length"] = str(len(changed))
    return httpx2.Request(
        request.method,
        request.url,
        headers=headers,
        stream=request.stream if changed is None else httpx2.ByteStream(changed),
        extensions=request.extensions,
    )


async def _settled_or_closed(gate: Gate, passing: _AsyncPassing) -> None:
    try:
        await gate.settle()
    except BaseException:
        await passing.aclose()
        raise


def _whole_body(body: bytes) -> Message:
    return {"type": "http.request", "body": body, "more_body": False}


def _start(reply: httpx2.Response) -> Message:
    return {"type": "http.response.start", "status": reply.status_code, "headers": reply.headers.raw}


def _part(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


def _refused(refusal: Refusal, request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(refusal.status, headers=refusal.headers, content=refusal.body, request=request)


def _wrong_meter(wanted: str) -> MeterValidationError:
    return MeterValidationError.one("meter", "VAL_INVALID_TYPE", f"must be {wanted}")
