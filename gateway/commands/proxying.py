"""The proxy, put together: the middleware over a forwarder, a client of the gateway. It decides nothing."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import httpx2
import structlog

from gateway.api.arrival import BoundedArrival
from gateway.client import AsyncMeterClient
from gateway.commands.proxy_accounts import Payer, identify_by, payers_of
from gateway.commands.proxy_checks import check_metrics_path, check_other_cost, check_payers, read_file
from gateway.domain.hosts import is_loopback
from gateway.errors import MeterAuthError, MeterUnavailableError
from gateway.llm import FilePrices, PriceList, Prices, Weights
from gateway.middleware import Account, LlmCosts, QuotaMiddleware
from gateway.middleware.asking import AskUsage
from gateway.middleware.costs import FREE
from gateway.middleware.forwarding import Forwarder, UpstreamBrokeOffError
from gateway.middleware.requests import App, Receive, Scope, Send
from gateway.middleware.scraping import MetricsAt
from gateway.running.http_server import Server, listen, server_config, url_of
from gateway.settings import SettingsError

_log = structlog.get_logger("quotagate.proxy")

MAX_BODY_BYTES = 32 * 2**20
_CONNECT_S = 10.0
_ARRIVAL_S = 300.0
_UNAUTHORIZED = 401


class ProxyOptions(NamedTuple):
    """What ``quotagate proxy`` is told.

    Attributes:
        upstream: the base URL of the provider.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        gateway: where the gateway is.
        api_key: the key to show it, if it asks for one.
        namespace: whose quota is spent, where the key does not say it.
        user: the user whose quota every request spends; None is the namespace's pool.
        user_header: the request header that names the user instead; it is not passed on.
        event_type: what is metered.
        unit: a unit of tokens, or ``usd``.
        resource: the resource metered.
        other_cost: what a request costs whose cost nobody can read; None refuses it.
        free: patterns of further paths that cost nothing.
        weights: a file of weights.
        prices: a file of prices.
        on_unavailable: what becomes of requests while the gateway is away.
        ask_usage: whether OpenAI's streams are asked for their usage.
        ttl_seconds: how long a hold lives between two signs of life of the reply.
        timeout_seconds: how long the upstream may be silent.
        drain_seconds: how long a stopping proxy finishes what it has begun.
        metrics_path: a path that shows measurements instead of being passed on.
        also: further accounts that every request spends of, as JSON.
    """

    upstream: str
    host: str = "127.0.0.1"
    port: int = 8081
    gateway: str = "http://127.0.0.1:8080"
    api_key: str | None = None
    namespace: str | None = None
    user: str | None = None
    user_header: str | None = None
    event_type: str = "llm_call"
    unit: str = "tokens"
    resource: str | None = None
    other_cost: str | None = None
    free: tuple[str, ...] = ()
    weights: Path | None = None
    prices: Path | None = None
    on_unavailable: Literal["deny", "allow"] = "deny"
    ask_usage: bool = False
    ttl_seconds: int = 600
    timeout_seconds: float = 600.0
    drain_seconds: int = 10
    metrics_path: str | None = None
    also: tuple[str, ...] = ()


class ProxyArrival(BoundedArrival):
    """A connection bounded as at the gateway; what goes to a provider may be long, so it has longer."""

    arrival_s = _ARRIVAL_S


async def run_proxy(options: ProxyOptions, tell: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; then finish what was begun, and settle what is cut short.

    Raises SettingsError for an upstream, an address or accounts that cannot be used.
    """
    upstream = checked_upstream(options.upstream)
    _payers(options)
    check_metrics_path(options.metrics_path)
    listening = _listen(options)
    timeout = httpx2.Timeout(options.timeout_seconds, connect=_CONNECT_S)
    no_limits = httpx2.Limits(max_connections=None, max_keepalive_connections=128)
    trusting = not is_loopback(upstream.host)
    with listening:
        async with (
            AsyncMeterClient(options.gateway, options.api_key, options.namespace) as meter,
            httpx2.AsyncClient(timeout=timeout, limits=no_limits, trust_env=trusting) as http,
        ):
            server = _Server(
                server_config(
                    proxy_app(options, meter, http),
                    options.drain_seconds,
                    proxy_headers=False,
                    http=ProxyArrival,
                )
            )
            tell(f"Quotagate's proxy serves on {url_of(listening)}, in front of {upstream}")
            looking = asyncio.create_task(_look_at_gateway(meter, options, tell))
            try:
                await server.until_told(listening)
            finally:
                looking.cancel()


async def _look_at_gateway(
    meter: AsyncMeterClient, options: ProxyOptions, tell: Callable[[str], None]
) -> None:
    """Say it where every request would be refused, for want of a gateway or of a key."""
    try:
        await meter.get_balance(options.user, options.event_type, options.unit, options.resource)
    except MeterUnavailableError as error:
        tell(f"The gateway is away: {error} (--gateway names another)")
    except MeterAuthError as error:
        if error.status == _UNAUTHORIZED:
            tell(f"The gateway lets nobody in: {error} (QUOTAGATE_API_KEY is the key that it is shown)")


def proxy_app(options: ProxyOptions, meter: AsyncMeterClient, http: httpx2.AsyncClient) -> App:
    """Put the proxy's parts together."""
    payers = _payers(options)
    stripped = sorted({payer.user_header.lower() for payer in payers if payer.user_header is not None})
    forwarder: App = Forwarder(options.upstream, http, stripped)
    costs = _costs(options, {payer.account.unit for payer in payers})
    app: App = QuotaMiddleware(
        AskUsage(forwarder, MAX_BODY_BYTES) if options.ask_usage else forwarder,
        meter=meter,
        identify=identify_by(payers),
        estimate=costs.estimate,
        usage=costs.usage,
        on_unavailable=options.on_unavailable,
        ttl_seconds=options.ttl_seconds,
        max_body_bytes=MAX_BODY_BYTES,
    )
    return _BrokenOff(app if options.metrics_path is None else MetricsAt(app, options.metrics_path, costs))


def checked_upstream(text: str) -> httpx2.URL:
    """Read the upstream's URL. Raises SettingsError."""
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise SettingsError([f"--upstream {text}: {error}"]) from error
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment or url.userinfo:
        raise SettingsError([f"--upstream {text}: must be like https://api.openai.com"])
    return url


def _payers(options: ProxyOptions) -> tuple[Payer, ...]:
    fixed = Account(options.user, options.event_type, options.unit, options.resource)
    payers = payers_of(Payer(fixed, options.user_header), options.also)
    check_payers(payers, options.also, weighted=options.weights is not None)
    if options.other_cost is not None:
        check_other_cost(options.other_cost, sorted({payer.account.unit for payer in payers}))
    return payers


def _costs(options: ProxyOptions, units: set[str]) -> LlmCosts:
    table = options.weights
    return LlmCosts(
        weights=None if table is None else read_file("--weights", table, Weights.from_json),
        prices=_prices(options) if "usd" in units else None,
        free=(*FREE, *options.free),
        other_cost=options.other_cost,
    )


def _prices(options: ProxyOptions) -> Prices:
    lists: list[PriceList] = []
    if options.prices is not None:
        lists.append(read_file("--prices", options.prices, FilePrices))
    try:
        from gateway.llm.genai import GenaiPrices  # an extra, and only for prices

        lists.append(GenaiPrices())
    except ImportError as error:
        if not lists:
            raise SettingsError(
                ["the unit usd: needs --prices, or the known prices of the extra `llm`"]
            ) from error
    return Prices(lists)


class _BrokenOff:
    """Says in one line that an upstream broke off; the server then breaks off too, as it must."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except UpstreamBrokeOffError as error:
            _log.warning("upstream_broke_off", path=scope["path"], reason=str(error))


class _Server(Server):
    """One that waits for what it has cut short: what a stream has cost is still to be charged."""

    async def until_told(self, listening: socket.socket) -> None:
        """Serve until SIGINT or SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        await self.serve(sockets=[listening])
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)

    def _stop(self) -> None:
        self.should_exit = True


def _listen(options: ProxyOptions) -> socket.socket:
    return listen(options.host, options.port, "--host or --port takes another")
