"""Fixtures of the callbacks: a user with quota, and both kinds of meters that spend it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from spending import Wallet

from gateway.client import MeterClient
from gateway.meter import Meter

_numbers = itertools.count(1)


@pytest.fixture
async def wallet(open_meter: Callable[[str], Awaitable[Meter]], gateway_url: str) -> AsyncIterator[Wallet]:
    """Give a user with 10,000 tokens."""
    namespace = f"callbacks-{next(_numbers)}"
    meter = await open_meter(namespace)
    await meter.allocate("alice", "llm_call", 10_000, "tokens")
    with MeterClient(gateway_url, namespace=namespace) as client:
        yield Wallet(meter, client)
