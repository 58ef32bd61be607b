"""How one request of an operator is served. No route is chosen and nothing is decided here."""

from __future__ import annotations

from typing import Any

from msgspec import json

from gateway.admin.asking import Asking
from gateway.admin.desk import Desk
from gateway.admin.routes import AdminRoute, Served
from gateway.api.auth import Caller
from gateway.api.bodies import GoneError, body_of
from gateway.api.endpoint import Gate, reply, reply_to
from gateway.api.headers import Headers, actor_of, refuse_repeated
from gateway.api.problems import Header, Reply
from gateway.api.queries import QueryReader
from gateway.api.reading import BodyReader
from gateway.api.requests import Nothing
from gateway.errors import MeterAuthError

# What is answered may be a key: no cache may have it.
_HEADERS: tuple[Header, ...] = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
_encode = json.Encoder(decimal_format="number").encode
_no_query = QueryReader(Nothing).read


class AdminEndpoint:
    """One route, ready to serve: an ASGI application of its own."""

    def __init__(self, route: AdminRoute, gate: Gate, desk: Desk) -> None:
        self._call = route.call
        self._gate = gate
        self._desk = desk
        self._has_body = route.method == "POST"
        self._read_body = BodyReader(route.request).read
        self._read_query = QueryReader(route.request).read

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request that a router has matched."""
        headers: Headers = dict(scope["headers"])
        request_id = self._gate.request_id_of(headers)
        try:
            body = await self._answer(headers, scope, receive)
        except GoneError:
            return
        except Exception as error:  # noqa: BLE001 - here every error becomes an answer
            await reply(send, reply_to(error, request_id, scope["method"], scope["path"]), request_id)
            return
        await reply(send, Reply(200, _HEADERS, body), request_id)

    async def _answer(self, headers: Headers, scope: Any, receive: Any) -> bytes:
        refuse_repeated(scope["headers"])
        asking = Asking(await self._identified(headers), actor_of(headers))
        if self._has_body:
            said = self._read_body(await body_of(headers, receive, self._gate.max_body_bytes))
            if scope["query_string"]:
                _no_query(scope["query_string"])
        else:
            said = self._read_query(scope["query_string"])
        target = scope["path_params"].get("target", "")
        return _encode(await self._call(self._desk, Served(asking, said, target)))

    async def _identified(self, headers: Headers) -> Caller:
        caller = await self._gate.identify(headers)
        if "admin" not in caller.scopes:
            raise MeterAuthError("this key may not do this: it lacks admin", "forbidden", 403)
        return caller
