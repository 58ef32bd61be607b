"""What a door adds to a request beyond the reserve itself: ``python -m loadtest.doors``.

The meter answers at once, so what is left is the door's own work: deciding what to hold, reading the reply,
settling. Processor time of one thread is counted, for nothing here waits: so a busy machine shows little.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, NamedTuple

import httpx2

from gateway.middleware import Account, LlmCosts, QuotaMiddleware
from gateway.middleware.requests import App, Message, Receive, Scope, Send
from gateway.middleware.transport import AsyncQuotaTransport

TARGET_US = 1000.0
CHUNKS = 200

_BODY = json.dumps({"model": "m", "max_tokens": 500, "messages": [{"content": "word " * 400}]}).encode()
_EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "word word"}}]}\n\n'
_WHOLE = json.dumps(
    {
        "model": "m",
        "choices": [{"message": {"content": "word " * 400}}],
        "usage": {"prompt_tokens": 500, "completion_tokens": 400, "total_tokens": 900},
    }
).encode()


class Added(NamedTuple):
    """What one kind of request, or a piece of it, costs more with the door than without, in microseconds."""

    kind: str
    median_us: float
    p99_us: float

    @property
    def kept(self) -> bool:
        """Whether the target is met."""
        return self.median_us < TARGET_US


class AtOnce:
    """A meter that grants everything and takes no time."""

    async def reserve(self, *_: Any, **__: Any) -> Any:
        """Grant."""
        return {
            "granted": True,
            "reservation_id": "r",
            "balance": Decimal(9),
            "available": Decimal(9),
            "expires_at": None,
            "entry_id": None,
        }

    async def commit(self, *_: Any, **__: Any) -> Any:
        """Charge."""

    async def release(self, *_: Any, **__: Any) -> bool:
        """Release."""
        return True

    async def extend(self, *_: Any, **__: Any) -> Any:
        """Extend."""

    async def consume(self, *_: Any, **__: Any) -> Any:
        """Charge without a hold."""


async def measure(requests: int) -> list[Added]:
    """Measure every kind of request, with the door and without it by turns."""
    costs = LlmCosts()
    named: dict[str, Any] = {"meter": AtOnce(), "identify": lambda _: Account("alice")}
    read: dict[str, Any] = {"estimate": costs.estimate, "usage": costs.usage}
    whole, stream = (
        _answering(b"application/json", [_WHOLE]),
        _answering(b"text/event-stream", [_EVENT] * CHUNKS),
    )
    return [
        await _compared("fixed cost", requests, _asgi(whole), _asgi(QuotaMiddleware(whole, **named))),
        await _compared("reply", requests, _asgi(whole), _asgi(QuotaMiddleware(whole, **named, **read))),
        await _compared(
            "piece of a stream",
            max(1, requests // CHUNKS),
            _asgi(stream),
            _asgi(QuotaMiddleware(stream, **named, **read)),
            CHUNKS,
        ),
        await _compared(
            "reply, SDK transport",
            requests,
            _http(httpx2.ASGITransport(whole)),
            _http(AsyncQuotaTransport(inner=httpx2.ASGITransport(whole), costs=costs, **named)),
        ),
    ]


async def _compared(
    kind: str,
    requests: int,
    without: Callable[[], Awaitable[None]],
    within: Callable[[], Awaitable[None]],
    pieces: int = 1,
) -> Added:
    differences = sorted([(await _timed(within) - await _timed(without)) / pieces for _ in range(requests)])
    p99 = differences[min(len(differences) - 1, int(len(differences) * 0.99))]
    return Added(kind, statistics.median(differences), p99)


async def _timed(once: Callable[[], Awaitable[None]]) -> float:
    started = time.thread_time()
    await once()
    return (time.thread_time() - started) * 1e6


def _answering(content_type: bytes, parts: list[bytes]) -> App:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}
        )
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def _asgi(app: App) -> Callable[[], Awaitable[None]]:
    async def receive() -> Message:
        return {"type": "http.request", "body": _BODY, "more_body": False}

    async def send(_: Message) -> None:
        pass

    async def once() -> None:
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
        await app(scope, receive, send)

    return once


def _http(transport: httpx2.AsyncBaseTransport) -> Callable[[], Awaitable[None]]:
    client = httpx2.AsyncClient(transport=transport, base_url="http://model")

    async def once() -> None:
        await client.post("/v1/chat/completions", content=_BODY)

    return once


def show(found: list[Added]) -> str:
    """Give the table."""
    rows = [f"{'added beyond the reserve':24} {'median':>10} {'p99':>10}   target {TARGET_US:.0f} µs"]
    for added in found:
        verdict = "kept" if added.kept else "MISSED"
        rows.append(f"{added.kind:24} {added.median_us:7.0f} µs {added.p99_us:7.0f} µs   {verdict}")
    return "\n".join(rows)


if __name__ == "__main__":
    measured = asyncio.run(measure(2000))
    print(show(measured))
    sys.exit(not all(added.kept for added in measured))
