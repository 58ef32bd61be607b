"""One connection to Redis shared by all calls of an event loop: what is asked in one tick travels together.

While a batch is on its way, what the next tick asks goes along: Redis is busy, and each batch wakes it anew.

Nothing here knows scripts or keys. The protocol is RESP2, read and written by hiredis.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import hiredis

from gateway.store.address import read_address
from gateway.store.errors import DemotedError, LinkLostError, RefusedError, StoreError, UnfencedError
from gateway.store.runs import ASKED, run_id_of
from gateway.store.tls import tls_context

Word = str | bytes | int
# So many calls are sent before their tick is over: Redis decides them while we make up the others.
_ENOUGH = 12
_CLOSED_HERE = "the connection was closed here"

RoundTripObserver = Callable[[int, float], None]


def unobserved(_calls: int, _seconds: float) -> None:
    """Take a measurement and forget it."""


class Link(Protocol):
    """Sends one command and gives its reply. Raises StoreError."""

    def call(self, *words: Word) -> asyncio.Future[Any]:
        """Send a command; the reply's texts are str."""
        ...

    async def close(self) -> None:
        """Close the connection; open calls fail with LinkLostError."""
        ...


class Pinnable(Link, Protocol):
    """A link that connects again by itself, but for those who ask it not to."""

    async def pinned(self) -> Link:
        """Give the connection of now, connecting if there is none; its calls fail once it is lost."""
        ...


class _Wire(asyncio.Protocol):
    """One connected socket: packs, counts, and hands replies back in the order of the calls."""

    def __init__(self, observe: RoundTripObserver) -> None:
        self._loop = asyncio.get_running_loop()
        # What is no UTF-8 harms only whoever asked for it, not all who share the connection.
        self._reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._batches: deque[tuple[int, float]] = deque()
        self._answered = 0
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._observe = observe
        self._suspect: tuple[int, float] | None = None
        self.lost: str | None = None
        self.other_run = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def call(self, words: tuple[Word, ...]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost is not None:
            future.set_exception(LinkLostError(self.lost, sent=False))
            return future
        if not self._outgoing:
            self._loop.call_soon(self._end_tick)
        self._outgoing.append(hiredis.pack_command(words))  # type: ignore[arg-type]  # stubs say 1-tuple
        self._waiting.append(future)
        if len(self._outgoing) == _ENOUGH:
            self._send()
        return future

    def _end_tick(self) -> None:
        if self._batches:
            self._loop.call_soon(self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._transport is None or self.lost is not None or not self._outgoing:
            return
        # Not the loop's clock: uvloop's stands still between its turns and counts whole milliseconds.
        self._batches.append((len(self._outgoing), time.monotonic()))
        self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def data_received(self, data: bytes) -> None:
        next_reply, next_waiting = self._reader.gets, self._waiting.popleft
        self._reader.feed(data)
        try:
            while (reply := next_reply()) is not False:
                future = next_waiting()
                self._answered += 1
                if future.done():  # the caller was cancelled; the server has acted all the same
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    future.set_exception(_error_of(str(reply)))
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.fail(f"what answers is no Redis: {error!r}")
        self._count()

    def _count(self) -> None:
        """Tell of every batch that is answered whole by now."""
        while self._batches and self._answered >= self._batches[0][0]:
            calls, sent_at = self._batches.popleft()
            self._answered -= calls
            self._observe(calls, time.monotonic() - sent_at)

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(str(exc) if exc else "the server closed the connection")

    def overdue(self, bound_s: float) -> bool:
        """Say whether the oldest batch has waited too long, and was already found so at the last look.

        One look is not enough: after this process itself stood still, the answers lie unread.
        """
        oldest = self._batches[0] if self._batches else None
        if oldest is None or time.monotonic() - oldest[1] <= bound_s:
            self._suspect = None
            return False
        suspected, self._suspect = self._suspect, oldest
        return suspected is oldest

    def fail(self, reason: str) -> None:
        """Close, and fail every call that has no answer; those not yet written were never sent."""
        if self.lost is not None:
            return
        self.lost = reason
        unsent = len(self._outgoing)
        for index, future in enumerate(self._waiting):
            if not future.done():
                sent = index < len(self._waiting) - unsent
                future.set_exception(LinkLostError(reason, sent=sent))
        self._waiting.clear()
        self._outgoing.clear()
        if self._transport is not None:
            self._transport.abort()


class Pipeline:
    """A ``Link`` over one socket that connects when first used and again after it was lost."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 1.0,
        observe: RoundTripObserver = unobserved,
    ) -> None:
        self._options = read_address(url)
        self._tls = tls_context(self._options) if url.startswith("rediss:") else None
        self._timeout_s = timeout_s
        self._observe = observe
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[_Wire] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._met: Callable[[], None] | None = None
        self._run_id: str | None = None
        self._closed = False

    def on_other_run(self, met: Callable[[], None]) -> None:
        """Have ``met`` called when a new connection reaches another run of a server than the last one did.

        The scripts that waited for that connection fail with UnfencedError. A server that hides its run is
        taken to be another one each time, and so is the first after a connection that nobody asked.
        """
        self._met = met
        self._run_id = None if self._wire is None else ""

    def call(self, *words: Word) -> asyncio.Future[Any]:
        """Send a command with all others of this tick."""
        wire = self._wire
        if wire is not None and wire.lost is None:
            return wire.call(words)
        return asyncio.ensure_future(self._connect_and_call(words))

    async def pinned(self) -> Link:
        """Give the connection of now, connecting if there is none; its calls fail once it is lost."""
        if self._wire is None or self._wire.lost is not None:
            await self.call("PING")
        return _Pinned(self._wire)

    async def close(self) -> None:
        """Close the socket for good; open calls, and all that come yet, fail with LinkLostError."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._wire is not None:
            self._wire.fail(_CLOSED_HERE)

    async def _connect_and_call(self, words: tuple[Word, ...]) -> Any:
        if self._closed:  # whoever opened it has given up what stands behind its answers
            raise LinkLostError(_CLOSED_HERE, sent=False)
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        connecting = self._connecting
        await asyncio.wait([connecting])
        if connecting.cancelled():
            raise LinkLostError(_CLOSED_HERE, sent=False)
        wire = connecting.result()
        if wire.other_run and words[0] == "EVALSHA":  # what fences it goes through
            raise UnfencedError("the server is another run than before")
        return await wire.call(words)

    def _connected(self, task: asyncio.Task[_Wire]) -> None:
        self._connecting = None
        if not task.cancelled() and task.exception() is None:
            self._wire = task.result()
            self._watch()

    async def _connect(self) -> _Wire:
        try:
            async with asyncio.timeout(self._timeout_s):
                wire = await self._open()
                try:
                    await self._greet(wire)
                    await self._recognise(wire)
                except BaseException:
                    wire.fail("the server did not accept our greeting")
                    raise
        except (OSError, StoreError) as error:
            reason = str(error) or f"no answer within {self._timeout_s} s"
            raise LinkLostError(f"cannot connect to Redis: {reason}", sent=False) from error
        return wire

    async def _open(self) -> _Wire:
        loop = asyncio.get_running_loop()
        options = self._options
        if "path" in options:
            _, wire = await loop.create_unix_connection(lambda: _Wire(self._observe), options["path"])
            return wire
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        _, wire = await loop.create_connection(lambda: _Wire(self._observe), host, port, ssl=self._tls)
        return wire

    async def _greet(self, wire: _Wire) -> None:
        for words in self._greeting():
            await wire.call(words)

    async def _recognise(self, wire: _Wire) -> None:
        """Look whether this is the run of the last connection, where somebody wants to know."""
        if self._met is None:
            return
        try:
            run_id = run_id_of(await wire.call(ASKED))
        except RefusedError:
            run_id = ""
        known, self._run_id = self._run_id, run_id
        if known is not None and (known != run_id or not run_id):
            wire.other_run = True
            self._met()

    def _greeting(self) -> list[tuple[Word, ...]]:
        options = self._options
        words: list[tuple[Word, ...]] = []
        if options.get("password"):
            name = (options["username"],) if options.get("username") else ()
            words.append(("AUTH", *name, options["password"]))
        words.append(("CLIENT", "SETNAME", "quotagate"))
        if options.get("db"):
            words.append(("SELECT", int(options["db"])))
        return words

    def _watch(self) -> None:
        """Look at the oldest call now and then: one timer serves all calls."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        wire = self._wire
        if wire is None or wire.lost is not None:
            return
        if wire.overdue(self._timeout_s):
            wire.fail(f"no answer within {self._timeout_s} s")
            return
        self._watchdog = asyncio.get_running_loop().call_later(self._timeout_s / 4, self._watch)


class _Pinned:
    """One connection of a pipeline, which goes on looking after it."""

    def __init__(self, wire: _Wire | None) -> None:
        self._wire = wire

    def call(self, *words: Word) -> asyncio.Future[Any]:
        if self._wire is not None:
            return self._wire.call(words)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(LinkLostError("there is no connection", sent=False))
        return future

    async def close(self) -> None:
        if self._wire is not None:
            self._wire.fail(_CLOSED_HERE)


def _error_of(text: str) -> StoreError:
    if text.startswith("NOSCRIPT"):
        return UnfencedError(text)
    if text.startswith(("READONLY", "MASTERDOWN")):
        return DemotedError(text)
    return RefusedError(text)
