"""Serves, or posts, until told to stop: signals, listening sockets, the order of starting and stopping."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Self

import structlog
import typer
import uvicorn

from gateway.api.fast import FastLane
from gateway.api.lane import HttpProtocol
from gateway.app import Apps, open_gateway
from gateway.joined import Store, open_store
from gateway.metrics import Metrics
from gateway.running.awaiting import Wait, entered, waiting_app
from gateway.running.flushing import FlusherNews, flusher_process, telling_gateway
from gateway.running.http_server import Server, listen, server_config, url_of
from gateway.settings import Settings
from persistence.patience import Trouble

_log = structlog.get_logger("quotagate.serving")

_ADVICE = "--port takes another"
_ADMIN_ADVICE = "QUOTAGATE_ADMIN_PORT takes another"
_COLLECT_AFTER = 20_000  # objects more than before
_STARTED_S = 0.01


@contextmanager
def taken_ports(settings: Settings) -> Iterator[Sequence[socket.socket]]:
    """Listen for callers and, where these have a port of their own, for operators; who comes, waits.

    Raises SettingsError when an address cannot be listened on.
    """
    advised = ((settings.port, _ADVICE), (settings.admin_port, _ADMIN_ADVICE))
    with ExitStack() as taken:
        yield [
            taken.enter_context(listen(settings.host, port, advice))
            for port, advice in advised
            if port is not None
        ]


async def serve_http(settings: Settings, places: Sequence[socket.socket], *, lifeline: bool = False) -> None:
    """Serve the API until SIGINT or SIGTERM; then finish what was begun, drain the flusher, return.

    While a database is away at the start, the ports say so; it goes on once that is there.

    Args:
        settings: with both URLs.
        places: what ``taken_ports`` gave; closed at the end.
        lifeline: whether the end of input stops it too.
    """
    listening, *admins = places
    async with AsyncExitStack() as running:
        # Undone last: once told to stop, nothing cuts the stop short.
        signals = running.enter_context(_StopSignals())
        for place in places:
            running.callback(place.close)
        stop = signals.heed()
        await running.enter_async_context(_end_of_input(stop, lifeline=lifeline))
        news = FlusherNews() if settings.flusher else None
        apps = await _opened(running, settings, news, places, stop)
        if apps is None:
            return
        if news is not None:
            await running.enter_async_context(flusher_process(settings, news))
        servers = [(Server(_uvicorn(apps.api, settings)), listening)]
        servers += [
            (Server(_uvicorn(apps.admin, settings)), place) for place in admins if apps.admin is not None
        ]
        serving = [asyncio.create_task(server.serve(sockets=[place])) for server, place in servers]
        _settle_memory()
        _announce(settings, listening, admins)
        await asyncio.wait([*serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*serving)


async def _opened(
    running: AsyncExitStack,
    settings: Settings,
    news: FlusherNews | None,
    places: Sequence[socket.socket],
    stop: asyncio.Event,
) -> Apps | None:
    """Open the gateway when both databases are there; None when told to stop before."""
    async with AsyncExitStack() as meanwhile:

        async def heard(attempts: int, reason: str) -> None:
            if attempts == 1:
                typer.echo(f"Quotagate waits on {url_of(places[0])}: {reason}", err=True)
                await meanwhile.enter_async_context(_telling(wait, settings, places))

        wait = Wait(heard)
        return await entered(running, partial(open_gateway, settings, news), stop, wait)


@asynccontextmanager
async def _telling(wait: Wait, settings: Settings, places: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Answer on the ports as the API does, but that nothing can be asked yet, and why."""
    server = Server(_uvicorn(waiting_app(wait, settings), settings))
    serving = asyncio.create_task(server.serve(sockets=[place.dup() for place in places]))
    while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn sets no event
        await asyncio.sleep(_STARTED_S)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def run_flusher(settings: Settings, *, lifeline: bool) -> None:
    """Post the journal until SIGINT, SIGTERM or, with ``lifeline``, the end of input; then drain.

    While a database is away at the start, it waits for it. Told to stop while it opens, it opens and drains:
    who told it may have written what nobody else will post.
    """
    tell = telling_gateway() if lifeline else None

    async def heard(attempts: int, reason: str) -> None:
        if tell is not None:
            tell(Trouble(attempts, reason))

    async with AsyncExitStack() as running:
        stop = running.enter_context(_StopSignals()).heed()
        await running.enter_async_context(_end_of_input(stop, lifeline=lifeline))
        opening = partial(_fenced_store, settings)
        store = await entered(running, opening, stop, Wait(heard), grace_s=settings.drain_seconds)
        if store is None:
            return
        if tell is not None:
            tell(Trouble(0, None))
        await store.post_alone(settings, stop, tell)


@asynccontextmanager
async def _fenced_store(settings: Settings) -> AsyncIterator[Store]:
    async with open_store(settings, Metrics()) as store:
        await store.fence.raise_up()
        _settle_memory()
        yield store


def _settle_memory() -> None:
    """Let the garbage collector leave alone what stays for good, and come less often for the rest.

    Requests and entries make few cycles and many short-lived objects; by default it came once in a few dozen
    of them, and took a tenth of the gateway's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _uvicorn(app: FastLane, settings: Settings) -> uvicorn.Config:
    return server_config(app, settings.drain_seconds, http=partial(HttpProtocol, app))


def _announce(settings: Settings, listening: socket.socket, admins: Sequence[socket.socket]) -> None:
    url = url_of(listening)
    typer.echo(f"Quotagate serves on {url}, its documentation on {url}/docs", err=True)
    for operators in [url_of(place) for place in admins] or [url]:
        typer.echo(f"The operators' page is {operators}/admin", err=True)
    if not settings.needs_key():
        typer.echo("No API key is asked for: only this machine can reach it.", err=True)


class _StopSignals:
    """SIGINT, SIGTERM and SIGHUP once they are heeded: the first asks to stop, and no other hurries the stop.

    A terminal that is closed sends SIGHUP. Whoever ignores it, as ``nohup`` does, goes on.

    After the block they are ignored where one came, for the process is ending: what it still has to put in
    order, the embedded servers above all, is not to be cut short either.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._heeded: Sequence[signal.Signals] = ()

    def heed(self) -> asyncio.Event:
        """Heed them from now on; give the event that they set. Before, they interrupt the opening."""
        loop = asyncio.get_running_loop()
        unheard = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._heeded = [number for number in self._NUMBERS if number != signal.SIGHUP or not unheard]
        for number in self._heeded:
            loop.add_signal_handler(number, self._stop.set)
        return self._stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._heeded:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN if self._stop.is_set() else signal.default_int_handler)


@asynccontextmanager
async def _end_of_input(stop: asyncio.Event, *, lifeline: bool) -> AsyncIterator[None]:
    """Stop when standard input closes: whoever held its other end is gone."""
    if not lifeline:
        yield
        return
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )

    async def watch() -> None:
        await reader.read()
        stop.set()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        transport.close()
