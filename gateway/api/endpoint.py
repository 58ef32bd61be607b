"""How one request is served, whichever lane it came by. No route is chosen and no value is judged here."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from msgspec import json

from gateway.api.auth import Authenticator, Caller
from gateway.api.batches import BatchReader
from gateway.api.bodies import GoneError, body_of, check_media
from gateway.api.headers import Headers, RequestIds, actor_of, durability_of, key_of, refuse_repeated
from gateway.api.problems import Header, Reply, failed, refused
from gateway.api.queries import QueryReader
from gateway.api.reading import BodyReader, malformed
from gateway.api.requests import Batch, Nothing
from gateway.api.routes import Route
from gateway.api.seams import Meter, Meters
from gateway.errors import MeterAuthError, MeterError, MeterValidationError

Pairs = Sequence[tuple[bytes, bytes]]
Scope = Any
Receive = Any
Send = Any

_JSON_ONLY: tuple[Header] = ((b"content-type", b"application/json"),)
_encode = json.Encoder(decimal_format="number").encode
_no_query = QueryReader(Nothing).read


class Gate:
    """What all endpoints share: the meters, the authenticator, the bound on bodies, the request ids.

    ``host`` is the address listened on, which may stand in a Host header where no key is asked for.
    """

    def __init__(
        self, meters: Meters, authenticator: Authenticator, max_body_bytes: int, host: str = "localhost"
    ) -> None:
        self.meters = meters
        self.recognise = authenticator.recognise
        self.identify = authenticator.identify
        self.needs_key = authenticator.needs_key
        self.max_body_bytes = max_body_bytes
        self.host = host
        self.request_id_of = RequestIds().of


class Endpoint:
    """One route, ready to serve: an ASGI application of its own."""

    def __init__(self, route: Route, gate: Gate) -> None:
        self.route = route
        self._gate = gate
        self.max_body_bytes = gate.max_body_bytes
        self._call = route.call
        self._scopes = route.scopes
        self._has_body = route.method in {"POST", "PUT"}
        self._takes_key = "idempotency_key" in route.request.__struct_fields__
        reader: BatchReader | BodyReader[Any] | QueryReader[Any]
        if route.request is Batch:
            reader = BatchReader()
        else:
            reader = BodyReader(route.request) if self._has_body else QueryReader(route.request)
        self._read = reader.read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that a router has matched."""
        await self.serve(scope, receive, send, scope["path_params"].get("reservation_id"))

    async def serve(self, scope: Scope, receive: Receive, send: Send, hold_id: str | None = None) -> None:
        """Serve a request; ``hold_id`` is the hold that its path names."""
        headers: Headers = dict(scope["headers"])
        request_id = self._gate.request_id_of(headers)
        try:
            body = await self._answer(headers, scope, receive, hold_id)
        except GoneError:
            return
        except Exception as error:  # noqa: BLE001 - here every error becomes an answer
            await reply(send, reply_to(error, request_id, scope["method"], scope["path"]), request_id)
            return
        await reply(send, Reply(200, _JSON_ONLY, body), request_id)

    async def posted(
        self, headers: Headers, pairs: Pairs, body: bytes, hold_id: str | None
    ) -> tuple[bytes, Reply]:
        """Answer a POST without a query that is here whole; give the request's id and the answer."""
        request_id = self._gate.request_id_of(headers)
        try:
            caller = self._recognised(headers, pairs) or await self._gate.identify(headers)
            meter = self._meter(caller, headers)
            check_media(headers)
            request = self._read(body)
            if b"idempotency-key" in headers:
                self._use_key(headers, request)
            told = _encode(await self._called(meter, request, hold_id))
            return request_id, Reply(200, _JSON_ONLY, told)
        except Exception as error:  # noqa: BLE001 - here every error becomes an answer
            return request_id, reply_to(error, request_id, "POST", self.route.path)

    async def _answer(self, headers: Headers, scope: Scope, receive: Receive, hold_id: str | None) -> bytes:
        caller = self._recognised(headers, scope["headers"]) or await self._gate.identify(headers)
        meter = self._meter(caller, headers)
        if self._has_body:
            request = self._read(await body_of(headers, receive, self._gate.max_body_bytes))
            if scope["query_string"]:
                _no_query(scope["query_string"])
            if b"idempotency-key" in headers:
                self._use_key(headers, request)
        else:
            request = self._read(scope["query_string"])
        return _encode(await self._called(meter, request, hold_id))

    def _recognised(self, headers: Headers, pairs: Pairs) -> Caller | None:
        """Give the caller; None where somebody has to be asked. Headers must not contradict themselves."""
        if len(headers) != len(pairs):
            refuse_repeated(pairs)
        return self._gate.recognise(headers)

    def _meter(self, caller: Caller, headers: Headers) -> Meter:
        """Give the meter for a caller of this route, with what its headers say for every call."""
        if not self._scopes <= caller.scopes:
            needed = ", ".join(sorted(self._scopes - caller.scopes))
            raise MeterAuthError(f"this key may not do this: it lacks {needed}", "forbidden", 403)
        meter = self._gate.meters(caller.namespace, actor_of(headers))
        if b"durability" in headers:
            meter = meter.with_durability(durability_of(headers[b"durability"]))
        return meter

    def _called(self, meter: Meter, request: Any, hold_id: str | None) -> Awaitable[Any]:
        """Ask the meter."""
        return self._call(meter, request) if hold_id is None else self._call(meter, hold_id, request)

    def _use_key(self, headers: Headers, request: Any) -> None:
        """Put the header's idempotency key into the request."""
        if not self._takes_key:
            if self.route.request is not Batch:
                return  # repeating it does no harm, whatever the key
            detail = "belongs to one operation; give each operation of a batch its own idempotency_key"
            raise MeterValidationError.one("Idempotency-Key", "VAL_IDEMPOTENCY_KEY_MISPLACED", detail)
        key = key_of(headers)
        if request.idempotency_key is not None and request.idempotency_key != key:
            detail = "is not the idempotency_key of the body"
            raise MeterValidationError.one("Idempotency-Key", "VAL_IDEMPOTENCY_KEY_DIFFERS", detail)
        request.idempotency_key = key


def reply_to(error: Exception, request_id: bytes, method: str, path: str) -> Reply:
    """Give the answer that says an error, foreseen or not."""
    if isinstance(error, MeterError):
        return refused(error)
    if isinstance(error, RecursionError):
        return refused(malformed(error))
    return failed(error, request_id.decode("ascii"), method, path)


async def reply(send: Send, answer: Reply, request_id: bytes) -> None:
    """Send an answer that stands whole."""
    length = (b"content-length", b"%d" % len(answer.body))
    head = [*answer.headers, length, (b"x-request-id", request_id)]
    await send({"type": "http.response.start", "status": answer.status, "headers": head})
    await send({"type": "http.response.body", "body": answer.body})
