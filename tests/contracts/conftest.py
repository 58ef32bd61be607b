"""One suite, three facades: the blocking client, the asynchronous client and the meter in process.

The suite sees one awaiting interface. ``gateway_url`` and ``open_meter`` come from tests/conftest.py.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.client import AsyncMeterClient, MeterClient

# What the blocking client does without a call, and so in the caller's own context.
LOCAL = frozenset({"set_actor", "clear_actor"})

Open = Callable[[str], Awaitable[Any]]


class Awaited:
    """The blocking client as the suite sees it: each call runs in a thread, in the caller's context."""

    def __init__(self, client: MeterClient, pool: ThreadPoolExecutor) -> None:
        self._client = client
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return method if name in LOCAL else self._call(method)

    def _call(self, method: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            run = contextvars.copy_context().run
            work = functools.partial(run, method, *args, **kwargs)
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

        return call


@pytest.fixture(params=["sync", "async", "in_process"])
async def open_facade(
    request: pytest.FixtureRequest, gateway_url: str, open_meter: Open
) -> AsyncIterator[Open]:
    """Open the facade under test on a namespace."""
    async with AsyncExitStack() as opened:
        pool = opened.enter_context(ThreadPoolExecutor(64))

        async def blocking(namespace: str) -> Any:
            return Awaited(opened.enter_context(MeterClient(gateway_url, namespace=namespace)), pool)

        async def awaiting(namespace: str) -> Any:
            return await opened.enter_async_context(AsyncMeterClient(gateway_url, namespace=namespace))

        yield {"sync": blocking, "async": awaiting, "in_process": open_meter}[request.param]


@pytest.fixture
def namespace() -> str:
    return f"contract-{uuid.uuid4().hex}"


@pytest.fixture
async def meter(open_facade: Open, namespace: str) -> Any:
    """The facade under test, on a namespace that nobody has used."""
    return await open_facade(namespace)
