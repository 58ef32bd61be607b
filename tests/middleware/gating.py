"""Apps of every kind behind the middleware, and meters that are away for a while."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from doors import Purse
from driving import Client, Reply

from gateway.errors import MeterUnavailableError
from gateway.meter import Meter
from gateway.middleware import Account, LlmCosts, QuotaMiddleware
from gateway.middleware.requests import App, Receive, Scope, Send

CALL = json.dumps(
    {"model": "m", "max_tokens": 100, "stream": True, "messages": [{"content": "abcd"}]}
).encode()
EVENT = b'data: {"choices": [{"delta": {"content": "word word word!"}}]}\n\n'


def answering(status: int = 200, *parts: bytes, content_type: bytes = b"text/plain") -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", content_type), (b"ratelimit", b'"old";r=1')]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    return app


def gated(purse: Purse, app: App, **options: Any) -> QuotaMiddleware:
    options.setdefault("identify", lambda _: Account(purse.user))
    return QuotaMiddleware(app, **{"meter": purse.meter, **options})


def llm_gated(purse: Purse, app: App, **options: Any) -> QuotaMiddleware:
    costs = LlmCosts()
    return gated(purse, app, **{"estimate": costs.estimate, "usage": costs.usage, **options})


async def ask(app: App, client: Client | None = None) -> Reply:
    return await (client or asking()).through(app)


def asking() -> Client:
    return Client("/v1/chat/completions", "POST", CALL)


class Elsewhere:
    """A meter that is away for some verbs, and real for the others."""

    def __init__(self, meter: Meter, away: dict[str, int]) -> None:
        self._meter = meter
        self.away = away
        self.calls: list[str] = []

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        async def method(*arguments: Any, **named: Any) -> Any:
            self.calls.append(verb)
            if self.away.get(verb, 0) > 0:
                self.away[verb] -= 1
                raise MeterUnavailableError("away", retry_after_s=2.5)
            return await getattr(self._meter, verb)(*arguments, **named)

        return method
