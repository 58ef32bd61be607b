"""An ASGI app that passes every request on to one upstream, and its replies back, byte by byte as they come.

Which upstream that is, is fixed when it is made: no request can choose another. Quota is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import httpx2

from gateway.middleware.refusals import problem
from gateway.middleware.requests import ClientLeftError, Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

# What is said between two neighbours, and is not for those behind them (RFC 9110, section 7.6.1).
_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
# Replies without a body, whatever their length is said to be; and where what HTTP knows ends.
_BODILESS = frozenset({204, 304})
_LAST_STATUS = 599
# Whoever reads the cost must be able to undo the encoding.
_READABLE = ("gzip", "identity")


class UpstreamBrokeOffError(Exception):
    """The upstream broke off in the middle of a reply; the client's connection is to break off too."""


class Forwarder:
    """Forwards to one upstream.

    Args:
        upstream: its base URL; a path in it comes before the requests' own.
        http: sends the requests; whoever made it closes it, and its timeouts are the upstream's.
        without: names, in lower case, of further request headers that are not passed on.
    """

    def __init__(self, upstream: str, http: httpx2.AsyncClient, without: Iterable[str] = ()) -> None:
        self._base = httpx2.URL(upstream)
        self._prefix = self._base.raw_path.rstrip(b"/")
        self._http = http
        self._without = _HOP_BY_HOP | {b"host", b"expect"} | {name.encode("latin-1") for name in without}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises UpstreamBrokeOffError."""
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        if not path.startswith(b"/") or _leaves_its_place(scope["path"]):
            return await problem(400, "bad_path", "The path must be absolute, without dot segments.").send(
                send
            )
        client = _Client(receive)
        exchange = asyncio.create_task(self._exchange(scope, path, client, send))
        leaving = asyncio.create_task(client.gone())
        try:
            await asyncio.wait([exchange, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A client that is gone needs no answer: closing the upstream's connection stops the model.
            unfinished = [task for task in (exchange, leaving) if task.cancel()]
            if unfinished:
                await asyncio.wait(unfinished)
        if not exchange.cancelled() and (error := exchange.exception()) is not None:
            raise error
        return None

    async def _exchange(self, scope: Scope, path: bytes, client: _Client, send: Send) -> None:
        # Made by hand: the client would add headers of its own, and the cookies of others.
        request = httpx2.Request(
            scope["method"],
            self._url(path, scope.get("query_string", b"")),
            headers=self._onward(scope["headers"]),
            content=client.body() if _has_body(scope["headers"]) else None,
        )
        try:
            if not _has_body(scope["headers"]):
                await client.nothing()
            response = await self._http.send(request, stream=True, follow_redirects=False)
        except ClientLeftError:
            return
        except httpx2.TimeoutException:
            await problem(504, "upstream_timeout", "The upstream did not answer in time.").send(send)
            return
        except httpx2.RequestError as error:
            detail = f"The upstream cannot be reached: {type(error).__name__}."
            await problem(502, "upstream_unreachable", detail).send(send)
            return
        try:
            if response.status_code > _LAST_STATUS:
                detail = f"The upstream answered with the status {response.status_code}."
                await problem(502, "upstream_unreachable", detail).send(send)
            else:
                await _pass_back(response, send)
        finally:
            await response.aclose()

    def _url(self, path: bytes, query: bytes) -> httpx2.URL:
        return self._base.copy_with(raw_path=self._prefix + path + (b"?" + query if query else b""))

    def _onward(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        kept = [(name, value) for name, value in _without_hops(headers, self._without)]
        asked = [value for name, value in kept if name.lower() == b"accept-encoding"]
        onward = [(name, value) for name, value in kept if name.lower() != b"accept-encoding"]
        return [*onward, (b"accept-encoding", readable(b",".join(asked)))]


class _Client:
    """The client's side of one request: its body, and then whether it is still there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._sent_all = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        """Give the body as it comes. Raises ClientLeftError."""
        is_more = True
        while is_more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            is_more = message.get("more_body", False)
            if body := message.get("body", b""):
                yield body
        self._sent_all.set()

    async def nothing(self) -> None:
        """Read the body of a request without one."""
        async for _ in self.body():
            pass

    async def gone(self) -> None:
        """Wait until the client is gone. As long as its body comes, that is for ``body`` to see."""
        await self._sent_all.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _pass_back(response: httpx2.Response, send: Send) -> None:
    without = set(_HOP_BY_HOP)
    if response.status_code in _BODILESS or "transfer-encoding" in response.headers:
        without.add(b"content-length")
    headers = _without_hops(response.headers.raw, without)
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    try:
        # As they were sent: an encoding is for the client to undo.
        async for data in response.aiter_raw():
            await send({"type": "http.response.body", "body": data, "more_body": True})
    except httpx2.RequestError as error:
        raise UpstreamBrokeOffError(f"the upstream broke off: {type(error).__name__}") from error
    await send({"type": "http.response.body", "body": b""})


def _without_hops(headers: Iterable[tuple[bytes, bytes]], without: frozenset[bytes] | set[bytes]) -> Headers:
    """Give the headers without those that are not to go further, and those that ``Connection`` names."""
    pairs = list(headers)
    named = {
        word.strip().lower()
        for name, value in pairs
        if name.lower() == b"connection"
        for word in value.split(b",")
    }
    return [(name, value) for name, value in pairs if name.lower() not in without | named]


def readable(accepted: bytes) -> bytes:
    """Give of the encodings that the client takes those whose replies can be read on the way."""
    words = [word.strip() for word in accepted.decode("latin-1").lower().split(",")]
    kept = [word for word in words if word.partition(";")[0].strip() in _READABLE]
    return ", ".join(kept or ["identity"]).encode("latin-1")


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in headers)


def _leaves_its_place(path: str) -> bool:
    return any(segment in {".", ".."} for segment in path.replace("\\", "/").split("/"))
