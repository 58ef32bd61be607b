"""The pages about the gateway itself: alive, ready, metrics, document, docs. No verb is served here.

That the process is alive is told to everyone, for those who probe it have no key. The other pages a peer on
this machine sees without a key; any other needs one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from msgspec import json

from gateway.api.auth import check_host, is_local
from gateway.api.endpoint import Gate, reply, reply_to
from gateway.api.headers import Headers, refuse_repeated
from gateway.api.problems import Header, Reply
from gateway.api.seams import Exposition
from gateway.api.shown import Alive, Lag, Ready, Stopped
from gateway.seams.shards import Health, Readiness, ShardLag

_JSON: Header = (b"content-type", b"application/json")
_HTML: Header = (b"content-type", b"text/html; charset=utf-8")
_FRESH: Header = (b"cache-control", b"no-store")
_RETRY: Header = (b"retry-after", b"1")
# The page carries its own style, script and document: nothing else may load, from anywhere.
_CLOSED: Header = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'",
)


# Clocks that are being put right move by less.
_AHEAD_S = 10.0


class Page(NamedTuple):
    """One page: its path, what it says, the shape of its answer (None for text), how it is made, for whom.

    ``public`` is a page for everyone, from wherever and under whatever name of this machine.
    """

    name: str
    path: str
    summary: str
    answer: Any
    media: str
    make: Callable[[], Awaitable[Reply]]
    public: bool = False


class PageEndpoint:
    """One page, ready to serve: an ASGI application of its own."""

    def __init__(self, page: Page, gate: Gate) -> None:
        self._make = page.make
        self._public = page.public
        self._gate = gate

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """Serve the page to whoever may see it."""
        headers = dict(scope["headers"])
        request_id = self._gate.request_id_of(headers)
        try:
            if not self._public:
                await self._admit(scope, headers)
            answer = await self._make()
        except Exception as error:  # noqa: BLE001 - here every error becomes an answer
            answer = reply_to(error, request_id, scope["method"], scope["path"])
        await reply(send, answer, request_id)

    async def _admit(self, scope: Any, headers: Headers) -> None:
        if is_local(scope) and b"authorization" not in headers:
            check_host(headers.get(b"host"), self._gate.host)
            return
        refuse_repeated(scope["headers"])
        await self._gate.identify(headers)


class Pages:
    """Makes the pages."""

    def __init__(self, health: Health, metrics: Exposition) -> None:
        self._health = health
        self._metrics = metrics
        self.document = b""
        self.docs = b""

    def table(self) -> tuple[Page, ...]:
        """Give all pages."""
        media = self._metrics.content_type
        return (
            Page(
                "alive", "/healthz", "The process runs", Alive, "application/json", self._alive, public=True
            ),
            Page("ready", "/readyz", "The gateway can do its work", Ready, "application/json", self._ready),
            Page("metrics", "/metrics", "Metrics for Prometheus", None, media, self._exposition),
            Page("document", "/openapi.json", "This document", None, "application/json", self._document),
            Page("docs", "/docs", "This document as a page", None, "text/html", self._docs),
        )

    async def _alive(self) -> Reply:
        return Reply(200, (_JSON, _FRESH), json.encode(Alive(status="alive")))

    async def _ready(self) -> Reply:
        found = await self._health.readiness()
        status, more = (503, (_RETRY,)) if found.faults else (200, ())
        return Reply(status, (_JSON, _FRESH, *more), json.encode(_ready(found)))

    async def _exposition(self) -> Reply:
        text = self._metrics.text(await self._health.readiness())
        return Reply(200, ((b"content-type", self._metrics.content_type.encode()), _FRESH), text)

    async def _document(self) -> Reply:
        return Reply(200, (_JSON,), self.document)

    async def _docs(self) -> Reply:
        return Reply(200, (_HTML, _CLOSED), self.docs)


def _ready(found: Readiness) -> Ready:
    lag = None if found.lag is None else [_lag(shard) for shard in found.lag if shard.entries]
    return Ready(
        status="not_ready" if found.faults else "ready",
        faults=found.faults,
        epochs={str(shard): epoch for shard, epoch in found.epochs.items()},
        lag=lag,
        lag_entries=None if lag is None else sum(shard["entries"] for shard in lag),
        open_holds=found.open_holds,
        stopped=[Stopped(shard=s.shard, since=s.since, reason=s.reason) for s in found.stopped],
        quarantined=found.quarantined,
        warnings=_warnings(found),
    )


def _warnings(found: Readiness) -> dict[str, str]:
    if found.clock_ahead_s <= _AHEAD_S:
        return {}
    ahead = f"{found.clock_ahead_s:.0f} s ahead of the clock of Redis"
    return {"clock": f"the time of a shard is {ahead}: until that has caught up, no hold of it expires"}


def _lag(shard: ShardLag) -> Lag:
    return Lag(
        shard=shard.shard,
        head=str(shard.head),
        watermark=str(shard.watermark),
        entries=shard.entries,
    )
