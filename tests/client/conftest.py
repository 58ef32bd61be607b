"""The client's fast bench: a gateway that is a function, and both kinds of client in front of it."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from gateway.client import AsyncMeterClient, MeterClient

Answer = Callable[[httpx2.Request], httpx2.Response]


class Bench:
    """A client over a scripted gateway. It keeps every request; each answer is the script's next."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.requests: list[httpx2.Request] = []
        self.script: list[Answer | httpx2.Response | Exception] = []
        self.opened: list[httpx2.Client | httpx2.AsyncClient] = []

    def client(self, **settings: Any) -> Any:
        transport = httpx2.MockTransport(self._answer)
        settings.setdefault("namespace", "acme")
        if self.kind == "sync":
            blocking = httpx2.Client(transport=transport)
            self.opened.append(blocking)
            return MeterClient("http://gateway:8080", http_client=blocking, **settings)
        awaiting = httpx2.AsyncClient(transport=transport)
        self.opened.append(awaiting)
        return AsyncMeterClient("http://gateway:8080", http_client=awaiting, **settings)

    def answers(self, *script: Answer | httpx2.Response | Exception) -> None:
        self.script.extend(script)

    def body(self, at: int = -1) -> Any:
        return json.loads(self.requests[at].content)

    def keys(self) -> list[str | None]:
        return [request.headers.get("idempotency-key") for request in self.requests]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        scripted = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(scripted, Exception):
            raise scripted
        if isinstance(scripted, httpx2.Response):
            # A response is read once; the same script line may answer many requests.
            return httpx2.Response(scripted.status_code, headers=scripted.headers, content=scripted.content)
        return scripted(request)


@pytest.fixture(params=["sync", "async"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    made = Bench(request.param)
    yield made
    for opened in made.opened:
        if isinstance(opened, httpx2.Client):
            opened.close()
        else:
            await opened.aclose()


async def awaited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def listed(iterator: Any) -> list[Any]:
    if hasattr(iterator, "__aiter__"):
        return [item async for item in iterator]
    return list(iterator)


@pytest.fixture
def told() -> Callable[[Any], Any]:
    """Await what either client gave back."""
    return awaited


@pytest.fixture
def drained() -> Callable[[Any], Any]:
    """List what either client's iterator gives."""
    return listed
