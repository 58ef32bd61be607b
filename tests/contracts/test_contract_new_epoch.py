"""Redis loses everything: a key that came before gives its first answer, other parameters a conflict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from gateway_process import gateway_process

from gateway.embedded import open_meters
from gateway.errors import MeterConflictError
from gateway.meter import Meter
from gateway.servers import RunningServers, start_servers
from gateway.settings import Settings

OpenMeter = Callable[[str], Awaitable[Meter]]
Act = Callable[[Any, str], Awaitable[Any]]

ACTS: dict[str, Act] = {
    "allocate": lambda m, _: m.allocate("ann", "llm_call", 7, "tokens", idempotency_key="k"),
    "consume": lambda m, _: m.consume("ann", "llm_call", 7, "tokens", idempotency_key="k"),
    "adjust": lambda m, _: m.adjust("ann", "llm_call", -7, "tokens", idempotency_key="k"),
    "reserve": lambda m, _: m.reserve("ann", "llm_call", 7, "tokens", idempotency_key="k"),
    "commit": lambda m, hold: m.commit(hold, 7, idempotency_key="k"),
    "commit of nothing": lambda m, hold: m.commit(hold, 0, idempotency_key="k"),
    "release": lambda m, hold: m.release(hold, idempotency_key="k"),
    "extend": lambda m, hold: m.extend(hold, amount=7, ttl_seconds=900, idempotency_key="k"),
}


@pytest.fixture(scope="module")
def own_servers() -> Iterator[RunningServers]:
    """Servers that may lose their memory without harm to other tests."""
    with start_servers(None, ephemeral=True, fsync=False) as running:
        yield running


@pytest.fixture(scope="module")
def gateway_url(own_servers: RunningServers) -> Iterator[str]:
    with gateway_process(own_servers) as url:
        yield url


@pytest.fixture(scope="module")
async def open_meter(own_servers: RunningServers, gateway_url: str) -> AsyncIterator[OpenMeter]:
    urls = {"redis_url": own_servers.redis_url, "database_url": own_servers.database_url}
    async with open_meters(Settings(**urls, flusher=False, report_wait_ms=20_000)) as meters:

        async def opened(namespace: str) -> Meter:
            return meters(namespace)

        yield opened


@pytest.fixture
async def hold(meter: Any) -> str:
    """A hold of 40 out of ann's 100 tokens."""
    await meter.allocate("ann", "llm_call", 100, "tokens")
    return str((await meter.reserve("ann", "llm_call", 40, "tokens"))["reservation_id"])


async def lose_everything(meter: Any, servers: RunningServers) -> None:
    """Empty Redis, once the ledger has what was done."""
    await meter.list_reservations()
    with closing(redis.Redis.from_url(servers.redis_url)) as client:
        client.flushall()


async def state(meter: Any) -> Any:
    balance = await meter.get_balance("ann", "llm_call", "tokens")
    entries = await meter.get_ledger("ann", "llm_call", "tokens")
    return balance["balance"], balance["reserved"], [entry["id"] for entry in entries]


@pytest.mark.parametrize("name", ACTS)
async def test_a_repeat_in_a_new_epoch_gives_the_first_answer(
    meter: Any, hold: str, own_servers: RunningServers, name: str
) -> None:
    first = await ACTS[name](meter, hold)
    before = await state(meter)
    await lose_everything(meter, own_servers)
    assert await ACTS[name](meter, hold) == first
    assert await state(meter) == before
    with pytest.raises(MeterConflictError) as caught:
        await meter.allocate("ann", "llm_call", 8, "tokens", idempotency_key="k")
    assert (caught.value.code, caught.value.status) == ("idempotency_mismatch", 409)
    assert await state(meter) == before
    assert await meter.reconcile() == []


async def test_a_key_that_never_came_acts_in_a_new_epoch(meter: Any, own_servers: RunningServers) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens", idempotency_key="k")
    await lose_everything(meter, own_servers)
    answer = await meter.allocate("ann", "llm_call", 1, "tokens", idempotency_key="l")
    assert answer["balance"] == 101
    assert await meter.allocate("ann", "llm_call", 1, "tokens", idempotency_key="l") == answer
    assert await meter.reconcile() == []
