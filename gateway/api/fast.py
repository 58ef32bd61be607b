"""The fast lane: finds the endpoint of a hot verb by its path. Nothing is answered here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gateway.api.endpoint import Endpoint
from gateway.api.heads import KnownHeads
from gateway.api.outbox import Outbox
from gateway.api.routes import HOLD, RESERVATIONS

_BEFORE_HOLD = RESERVATIONS + "/"
_AFTER_HOLD = HOLD + "/"
# An id of a hold that is spelled otherwise may need decoding; the router sees to it.
_HOLD_TARGET = re.compile(rb"%s(rsv_[0-9]{1,8}[cd]?_[0-9a-f]{24})/([a-z]+)" % _BEFORE_HOLD.encode())


class FastLane:
    """An ASGI application in front of another: hot verbs never reach the one behind.

    Attributes:
        heads: what the connections to it have learnt of their requests.
        outbox: through which they send their answers.
    """

    def __init__(self, endpoints: Iterable[Endpoint], app: Any) -> None:
        self.heads = KnownHeads()
        self.outbox = Outbox()
        self._app = app
        self._by_method: dict[str, dict[str, Endpoint]] = {"GET": {}, "POST": {}, "PUT": {}}
        self._on_hold: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            route = endpoint.route
            if route.hot and route.path.startswith(_AFTER_HOLD):
                self._on_hold[route.path.removeprefix(_AFTER_HOLD)] = endpoint
            elif route.hot:
                self._by_method[route.method][route.path] = endpoint
        self._posted = {path.encode(): endpoint for path, endpoint in self._by_method["POST"].items()}

    def posted_to(self, target: bytes) -> tuple[Endpoint, str | None] | None:
        """Give the endpoint of a hot verb, and the hold's id, for the target of a POST as the wire has it.

        None for any target that is not plainly one: the application itself tells what it is.
        """
        endpoint = self._posted.get(target)
        if endpoint is not None:
            return endpoint, None
        named = _HOLD_TARGET.fullmatch(target)
        on_hold = self._on_hold.get(named[2].decode()) if named else None
        return (on_hold, named[1].decode()) if named and on_hold else None

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
