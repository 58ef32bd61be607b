"""The fast lane: finds the endpoint of a hot verb by its path. Nothing is answered here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.api.endpoint import Endpoint
from gateway.api.routes import HOLD, RESERVATIONS

_BEFORE_HOLD = RESERVATIONS + "/"
_AFTER_HOLD = HOLD + "/"


class FastLane:
    """An ASGI application in front of another: hot verbs never reach the one behind."""

    def __init__(self, endpoints: Iterable[Endpoint], app: Any) -> None:
        self._app = app
        self._by_method: dict[str, dict[str, Endpoint]] = {"GET": {}, "POST": {}}
        self._on_hold: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            route = endpoint.route
            if route.hot and route.path.startswith(_AFTER_HOLD):
                self._on_hold[route.path.removeprefix(_AFTER_HOLD)] = endpoint
            elif route.hot:
                self._by_method[route.method][route.path] = endpoint

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a hot verb, or let the application behind serve what this is instead."""
        if scope["type"] == "http" and scope["method"] in self._by_method:
            path: str = scope["path"]
            method = scope["method"]
            endpoint = self._by_method[method].get(path)
            if endpoint is not None:
                await endpoint.serve(scope, receive, send)
                return
            if method == "POST" and path.startswith(_BEFORE_HOLD):
                hold_id, _, verb = path[len(_BEFORE_HOLD) :].partition("/")
                endpoint = self._on_hold.get(verb)
                if endpoint is not None and hold_id:
                    await endpoint.serve(scope, receive, send, hold_id)
                    return
        await self._app(scope, receive, send)
