"""Gateways in process over servers of a test's own, with a flusher that posts only when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple

import msgspec
import psycopg
import redis
from psycopg import sql

from gateway.app import running_flusher
from gateway.domain.decisions import Done
from gateway.domain.names import shard_of
from gateway.joined import Store, open_store
from gateway.meter import Backend, Meter
from gateway.metrics import Metrics
from gateway.protocols import Call
from gateway.running.health import StoreHealth
from gateway.seams.shards import Readiness
from gateway.servers.redis_server import RedisServer
from gateway.settings import Settings
from persistence.leases import Lease

NAMESPACE = "acme"
SHARD = shard_of(NAMESPACE)
ALICE = "alice:llm_call:tokens:"
WAIT_S = 20.0
_numbers = count()


class Gate(NamedTuple):
    """One process: its store, its lease, and a meter of the namespace."""

    store: Store
    meter: Meter

    async def allocate(self, amount: int, key: str | None = None, namespace: str = NAMESPACE) -> Done:
        call = Call(namespace, key, "f" if key else "", b"")
        return await self.store.decider.allocate(call, ALICE, amount)

    async def readiness(self) -> Readiness:
        return await StoreHealth(self.store).readiness()


class Site:
    """A Redis and a database, and what runs on them."""

    def __init__(self, redis: RedisServer, database_url: str) -> None:
        self.redis = redis
        self.database_url = database_url
        self.settings = Settings(
            redis_url=redis.url, database_url=database_url, allow_volatile_redis=True, redis_timeout_ms=5000
        )

    @asynccontextmanager
    async def gate(self, **settings: Any) -> AsyncIterator[Gate]:
        """Open a gateway with a lease, as a serving process does."""
        async with self.unleased(**settings) as gate, gate.store.lease.held():
            await gate.store.decider.open()
            yield gate

    @asynccontextmanager
    async def unleased(self, **settings: Any) -> AsyncIterator[Gate]:
        """Open a gateway whose lease the test holds by itself."""
        changed = msgspec.structs.replace(self.settings, **settings)
        async with open_store(changed, Metrics()) as store:
            backend = Backend(
                store.decider, store.reports, Metrics(), store.reconciler, 10.0, changed.durability
            )
            yield Gate(store, Meter(backend, NAMESPACE))

    async def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement in the database and give its rows."""
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as connection:
            cursor = await connection.execute(statement.encode(), values or None)
            return await cursor.fetchall() if cursor.description else []

    async def epoch(self, shard: int = SHARD) -> int:
        ((epoch,),) = await self.ask("SELECT epoch FROM meter.shards WHERE shard = %s", shard)
        return int(epoch)

    async def flush(self, store: Store) -> None:
        """Post all there is, and stop."""
        stop = asyncio.Event()
        stop.set()
        await store.flusher(self.settings).run(stop)

    async def agreed(self, gate: Gate) -> None:
        """Let reconcile compare Redis and ledger; they must agree."""
        async with running_flusher(gate.store, self.settings):
            assert await gate.meter.reconcile() == []

    async def booked(self) -> list[tuple[Decimal, Decimal]]:
        """Give amount and balance after of every line of alice's, in order; the chain must hold."""
        rows = await self.ask(
            "SELECT amount, balance_after FROM meter.ledger "
            "WHERE namespace = %s AND account = %s ORDER BY entry_id",
            NAMESPACE,
            ALICE,
        )
        balance = Decimal(0)
        for amount, after in rows:
            balance += amount
            assert balance == after, rows
        return [(amount, after) for amount, after in rows]

    async def amounts(self) -> list[int]:
        return [int(amount) for amount, _ in await self.booked()]

    async def losses(self) -> list[tuple[int, int, int]]:
        return [
            (first, last, recovered)
            for first, last, recovered in await self.ask(
                "SELECT first_seq, last_seq, recovered FROM meter.losses ORDER BY shard, epoch, first_seq"
            )
        ]


async def created(server_url: str, template: str = "template1") -> str:
    """Make a database of a test's own; give its URL."""
    name = f"site_{next(_numbers)}"
    async with await psycopg.AsyncConnection.connect(server_url, autocommit=True) as connection:
        await connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    return server_url.replace("/quotagate?", f"/{name}?")


@asynccontextmanager
async def frozen(lease: Lease) -> AsyncIterator[None]:
    """Let a process stand still for longer than its lease: it neither renews nor answers meanwhile."""
    turn = lease._turn

    async def stand_still(_connection: object) -> None:
        await asyncio.sleep(0)

    lease._turn = stand_still  # type: ignore[method-assign]
    try:
        yield
    finally:
        lease._turn = turn  # type: ignore[method-assign]


def ask_redis(server: RedisServer, *words: object) -> Any:
    """Ask a Redis something that no gateway would."""
    with closing(redis.Redis.from_url(server.url, decode_responses=True)) as client:
        return client.execute_command(*words)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.02)
