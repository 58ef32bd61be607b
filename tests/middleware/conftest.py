"""Fixtures of the doors: users with quota, a provider on a real socket, the proxy in front of it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx2
import pytest
from doors import Proxied, Purse, serving
from provider import Provider

from gateway.client import AsyncMeterClient
from gateway.commands.proxying import ProxyOptions, proxy_app
from gateway.meter import Meter
from gateway.middleware.requests import App

_numbers = itertools.count(1)


@pytest.fixture
async def purse(open_meter: Callable[[str], Awaitable[Meter]]) -> Purse:
    """Give a user with 10,000 tokens."""
    meter = await open_meter(f"doors-{next(_numbers)}")
    await meter.allocate("alice", "llm_call", 10_000, "tokens")
    return Purse(meter, "alice")


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[App], Awaitable[str]]]:
    """Give a function that serves apps until the test is over."""
    async with AsyncExitStack() as running:

        async def served(app: App) -> str:
            return await running.enter_async_context(serving(app))

        yield served


@pytest.fixture
def provider() -> Provider:
    """Give a provider."""
    return Provider()


@pytest.fixture
async def proxied(
    purse: Purse, provider: Provider, gateway_url: str, serve: Callable[[App], Awaitable[str]]
) -> AsyncIterator[Proxied]:
    """Give a function that puts a proxy before the provider; it spends the purse of the test."""
    upstream = await serve(provider)
    async with AsyncExitStack() as running:

        async def started(**options: object) -> str:
            told = {"upstream": upstream, "user": purse.user, **options}
            meter = await running.enter_async_context(
                AsyncMeterClient(
                    gateway_url, namespace=purse.meter.namespace, timeout_s=120, attempt_timeout_s=60
                )
            )
            limits = httpx2.Limits(max_connections=None)
            http = await running.enter_async_context(
                httpx2.AsyncClient(timeout=60, limits=limits, trust_env=False)
            )
            return await serve(proxy_app(ProxyOptions(**told), meter, http))  # type: ignore[arg-type]

        yield started
