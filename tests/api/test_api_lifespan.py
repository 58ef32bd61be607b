"""What happens around serving is the root's: the application only hands it on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gateway.api import NoKeys, api_app


async def test_the_roots_lifespan_surrounds_serving(gateway: Any) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[Mapping[str, Any]]:
        seen.append("opened")
        yield {"part": "of every request"}
        seen.append("closed")

    app = api_app(gateway.meters, NoKeys(), gateway.health, gateway.metrics, version="1", lifespan=lifespan)
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    scope: dict[str, Any] = {"type": "lifespan", "state": {}}

    async def receive() -> dict[str, str]:
        return messages.pop(0)

    async def send(message: dict[str, str]) -> None:
        seen.append(message["type"])

    await app(scope, receive, send)
    assert seen == ["opened", "lifespan.startup.complete", "closed", "lifespan.shutdown.complete"]
    assert scope["state"] == {"part": "of every request"}
