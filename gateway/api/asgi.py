"""Puts the API together: the tables of routes and pages, the fast lane, and Starlette's router behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace
from starlette.routing import Route as Path
from starlette.routing import Router

from gateway.api.auth import Authenticator
from gateway.api.docs import page_of
from gateway.api.endpoint import Endpoint, Gate, reply
from gateway.api.fast import FastLane
from gateway.api.openapi import Described, document
from gateway.api.problems import no_route, refused, wrong_method
from gateway.api.routes import ROUTES
from gateway.api.seams import Exposition, Meters
from gateway.api.service import PageEndpoint, Pages
from gateway.seams.shards import Health

MAX_BODY_BYTES = 1024 * 1024


def api_app(
    meters: Meters,
    authenticator: Authenticator,
    health: Health,
    metrics: Exposition,
    *,
    version: str,
    max_body_bytes: int = MAX_BODY_BYTES,
    host: str = "localhost",
    beside: Callable[[Gate], Mapping[str, Mapping[str, Any]]] | None = None,
    described: Described | None = None,
) -> FastLane:
    """Build the ASGI application that callers speak to.

    Args:
        meters: gives the meter of a namespace, acted by an actor.
        authenticator: tells who asks.
        health: looks at both databases for /readyz and /metrics.
        metrics: what /metrics shows.
        version: of the gateway, for the document.
        max_body_bytes: the longest body that is read.
        host: the address listened on.
        beside: gives what else is served, by path and method.
        described: what the document says of that.
    """
    gate = Gate(meters, authenticator, max_body_bytes, host)
    endpoints = [Endpoint(route, gate) for route in ROUTES]
    pages = Pages(health, metrics)
    pages.document = document(ROUTES, pages.table(), version, authenticator.needs_key, described)
    pages.docs = page_of(pages.document)
    by_path: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.route.path, {})[endpoint.route.method] = endpoint
    for page in pages.table():
        by_path[page.path] = {"GET": PageEndpoint(page, gate)}
    more = beside(gate) if beside is not None else {}
    return FastLane(endpoints, router_of({**by_path, **more}, gate))


def router_of(by_path: Mapping[str, Mapping[str, Any]], gate: Gate) -> Router:
    """Build the router of what is served by path and method."""
    paths = [Path(path, ByMethod(served, gate)) for path, served in by_path.items()]
    return Router(paths, redirect_slashes=False, default=Nowhere(gate))


class ByMethod:
    """What one path serves, by method: an ASGI application. HEAD is served as GET; servers drop its body."""

    def __init__(self, served: Mapping[str, Any], gate: Gate) -> None:
        self._served = dict(served)
        if "GET" in served:
            self._served["HEAD"] = served["GET"]
        self._allowed = ", ".join(sorted(self._served))
        self._gate = gate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the method, or say which ones are."""
        served = self._served.get(scope["method"])
        if served is not None:
            await served(scope, receive, send)
            return
        answer = refused(wrong_method(scope["method"], self._allowed))
        answer = replace(answer, headers=(*answer.headers, (b"allow", self._allowed.encode())))
        await reply(send, answer, self._gate.request_id_of(dict(scope["headers"])))


class Nowhere:
    """What every path serves that is not in the tables: an ASGI application."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """Say that nothing is here; a web socket is closed."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        await reply(send, refused(no_route()), self._gate.request_id_of(dict(scope["headers"])))
