"""A store on servers of this room's own, emptied before each test, and a flusher to run beside it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from making import Caught, Sql, until

from gateway.domain.names import shard_of
from gateway.joined import Store, open_store
from gateway.metrics import Metrics
from gateway.servers import RunningServers, start_servers
from gateway.settings import Settings


@pytest.fixture(scope="module")
def own_settings() -> Iterator[Settings]:
    """Settings on a Redis and a Postgres that no other test uses."""
    with start_servers(None, ephemeral=True, fsync=False) as running:
        yield settings_of(running)


def settings_of(running: RunningServers) -> Settings:
    return Settings(redis_url=running.redis_url, database_url=running.database_url, flush_interval_ms=1)


@pytest.fixture
async def store(own_settings: Settings) -> AsyncIterator[Store]:
    """An open store over a Redis in which there is nothing yet."""
    async with open_store(own_settings, Metrics()) as opened:
        await opened.link.call("FLUSHALL")
        await opened.link.call("SCRIPT", "FLUSH")
        await opened.decider.open()
        yield opened


@pytest.fixture
async def flushing(store: Store, own_settings: Settings) -> AsyncIterator[None]:
    """A flusher beside the test."""
    stop = asyncio.Event()
    task = asyncio.create_task(store.flusher(own_settings).run(stop))
    yield
    stop.set()
    await task


@pytest.fixture
def caught_up(store: Store) -> Caught:
    """Give a function that waits until the ledger has all that a namespace's shard did."""

    async def wait(namespace: str) -> None:
        shard = shard_of(namespace)
        head = await store.decider.head(shard)

        async def posted() -> bool:
            return (await store.reports.watermark(shard))[0] >= head

        await until(posted)

    return wait


@pytest.fixture
async def sql(own_settings: Settings) -> AsyncIterator[Sql]:
    """Give a function that runs a statement in the ledger's database."""
    async with await psycopg.AsyncConnection.connect(
        str(own_settings.database_url), autocommit=True
    ) as connection:

        async def run(statement: str, *values: object) -> None:
            await connection.execute(statement.encode(), values or None)

        yield run


@pytest.fixture
def namespace() -> str:
    """A namespace that nobody has used."""
    return f"restoring-{uuid.uuid4().hex}"
