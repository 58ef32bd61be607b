"""A running gateway, put together: the one place besides cli and embedded that knows both databases.

Nothing is decided here. ``open_store`` joins Redis and Postgres into what a ``Meter`` needs; ``open_gateway``
adds what a serving process runs beside it: the sweeper, the flusher, health and the HTTP application.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple, TypeVar

import structlog

from gateway.api.asgi import api_app
from gateway.api.auth import Authenticator, NoKeys, SingleKey
from gateway.api.fast import FastLane
from gateway.domain.names import SHARDS
from gateway.errors import MeterError
from gateway.meter import Backend, Meter
from gateway.metrics import Metrics
from gateway.protocols import Actor, Health, Observer, Readiness, ShardLag, ShardRow, ShardState
from gateway.settings import Settings, SettingsError
from gateway.store.calls import Calls
from gateway.store.decider import RedisDecider
from gateway.store.journal import RedisJournal
from gateway.store.kept import Kept
from gateway.store.loading import Loader
from gateway.store.pipeline import Pipeline, RoundTripObserver, unobserved
from gateway.store.replies import read_entry
from gateway.store.scripts import scripts
from gateway.store.server import volatility
from gateway.store.shards import RedisShards
from persistence.closings import Closings
from persistence.database import Database
from persistence.errors import MigrationError
from persistence.fence import LedgerFence
from persistence.flusher import Flusher
from persistence.leases import Lease
from persistence.ledger import Ledger
from persistence.locks import exclusive
from persistence.migrations import migrate
from persistence.queries import Queries

_log = structlog.get_logger("quotagate.app")

_READ_BLOCK_MS = 1000

Found = TypeVar("Found")


class Store(NamedTuple):
    """Both databases, joined."""

    decider: RedisDecider
    reports: Queries
    ledger: Ledger
    journal: RedisJournal
    shards: RedisShards
    fence: LedgerFence
    closings: Closings
    lease: Lease

    def flusher(self, settings: Settings) -> Flusher:
        """Make the flusher of this store."""
        return Flusher(
            self.journal,
            self.ledger,
            interval_ms=settings.flush_interval_ms,
            batch_entries=settings.flush_batch_entries,
            drain_s=settings.drain_seconds,
        )


@asynccontextmanager
async def open_store(settings: Settings, observer: Observer) -> AsyncIterator[Store]:
    """Connect to Redis and Postgres, bring the schema up to date, and close again at the end.

    Raises MeterUnavailableError when one of the two does not answer, SettingsError when one of them cannot
    be used: a URL nobody understands, a schema this program does not know, a Redis that could forget.
    """
    async with AsyncExitStack() as closing:
        database = Database(_given(settings.database_url), max_size=settings.database_pool_size)
        await database.open()
        closing.push_async_callback(database.close)
        await _migrate(_given(settings.database_url))
        timeout_s = settings.redis_timeout_ms / 1000
        link = _link(settings, timeout_s, observer.round_trip)
        closing.push_async_callback(link.close)
        reading = _link(settings, timeout_s + _READ_BLOCK_MS / 1000)
        closing.push_async_callback(reading.close)
        await _check_redis(link, allowed=settings.allow_volatile_redis)
        store = _joined(settings, database, link, reading)
        closing.push_async_callback(store.fence.close)
        yield store


async def _migrate(database_url: str) -> None:
    try:
        await migrate(database_url)
    except MigrationError as error:
        raise SettingsError([f"QUOTAGATE_DATABASE_URL: {error}"]) from error


def _link(settings: Settings, timeout_s: float, observe: RoundTripObserver = unobserved) -> Pipeline:
    try:
        return Pipeline(_given(settings.redis_url), timeout_s=timeout_s, observe=observe)
    except ValueError:
        # What the parser says may quote the password.
        advice = "percent-encode what is special in the password"
        raise SettingsError([f"QUOTAGATE_REDIS_URL: is not the URL of a Redis; {advice}"]) from None


async def _check_redis(link: Pipeline, *, allowed: bool) -> None:
    reasons = await volatility(link)
    for reason in reasons:
        _log.warning("redis_may_forget", reason=reason)
    if reasons and not allowed:
        problem = "; ".join(reasons)
        raise SettingsError(
            [f"QUOTAGATE_REDIS_URL: {problem}; QUOTAGATE_ALLOW_VOLATILE_REDIS=1 uses it anyway"]
        )


def _joined(settings: Settings, database: Database, link: Pipeline, reading: Pipeline) -> Store:
    texts = scripts()
    settled_ms = settings.settled_hold_seconds * 1000
    reports, ledger = Queries(database), Ledger(database)
    journal = RedisJournal(reading, link, texts, settled_ms=settled_ms)
    shards = RedisShards(link, texts)
    closings = Closings(database, read_entry)
    fence = LedgerFence(lambda: exclusive(database, "fence"), ledger, closings, journal, shards)
    loader = Loader(
        link, texts, reports, absent_ttl_ms=settings.absent_ttl_seconds * 1000, settled_ms=settled_ms
    )
    kept = Kept(max_entries=settings.kept_max_entries, max_bytes=settings.kept_max_bytes)
    calls = Calls(link, texts, fence, loader, kept=kept)
    link.on_other_run(calls.suspect)
    decider = RedisDecider(
        calls,
        seen_ms=settings.idempotency_window_seconds * 1000,
        late_commit=settings.late_commit,
        journal_max_entries=settings.journal_max_entries,
    )
    lease = Lease(database, kept, calls.open)
    return Store(decider, reports, ledger, journal, shards, fence, closings, lease)


def _given(url: str | None) -> str:
    if url is None:
        raise ValueError("a store needs the URLs of Redis and Postgres")
    return url


@asynccontextmanager
async def open_backend(settings: Settings, observer: Observer) -> AsyncIterator[tuple[Store, Backend]]:
    """Open the store and what meters share."""
    # The lease comes first: a fence asks every process that acknowledges, this one too.
    async with open_store(settings, observer) as store, store.lease.held():
        await store.decider.open()
        yield store, Backend(store.decider, store.reports, observer, settings.report_wait_ms / 1000)


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[FastLane]:
    """Open everything a serving process runs; give the application to serve."""
    metrics = Metrics()
    async with open_backend(settings, metrics) as (store, backend), AsyncExitStack() as running:
        await running.enter_async_context(_task(_sweep(store.decider, settings.sweep_interval_ms / 1000)))

        def meters(namespace: str, actor: Actor) -> Meter:
            return Meter(backend, namespace, actor)

        yield api_app(
            meters,
            _authenticator(settings),
            StoreHealth(store),
            metrics,
            version=version("quotagate"),
            max_body_bytes=settings.request_max_bytes,
        )


def _authenticator(settings: Settings) -> Authenticator:
    if not settings.needs_key():
        return NoKeys()
    if settings.api_key is None:
        raise SettingsError(["QUOTAGATE_API_KEY: is not set, and callers need a key"])
    return SingleKey(settings.api_key)


@asynccontextmanager
async def running_flusher(store: Store, settings: Settings) -> AsyncIterator[None]:
    """Run the flusher in this event loop; drain at the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(store.flusher(settings).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


class StoreHealth(Health):
    """Looks at both databases for /readyz and /metrics."""

    def __init__(self, store: Store, timeout_s: float = 2.0) -> None:
        self._store = store
        self._timeout_s = timeout_s

    async def readiness(self) -> Readiness:
        """Ask both databases, each for a bounded time; what does not answer is a fault."""
        faults: dict[str, str] = {}
        states = await self._asked("redis", self._store.shards.states, faults) or {}
        rows = await self._asked("postgres", self._store.ledger.shard_rows, faults) or ()
        open_holds = await self._asked("postgres", self._store.reports.count_open_holds, faults)
        proven_loss = await self._asked("postgres", self._store.closings.proven_loss, faults)
        marks = {row.shard: row.watermark for row in rows}
        lag = [
            ShardLag(shard, state.head, marks[shard])
            for shard, state in states.items()
            if shard in marks and state.head.seq >= 0
        ]
        if closed := _closed(states, rows):
            faults["epoch"] = closed
        epochs = {shard: state.epoch for shard, state in states.items() if state.epoch is not None}
        return Readiness(faults, epochs, lag, open_holds or 0, proven_loss or 0)

    async def _asked(
        self, part: str, ask: Callable[[], Awaitable[Found]], faults: dict[str, str]
    ) -> Found | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await ask()
        except TimeoutError:
            faults[part] = f"no answer within {self._timeout_s} s"
        except MeterError as error:
            faults[part] = error.message
        return None


def _closed(states: Mapping[int, ShardState], rows: Iterable[ShardRow]) -> str:
    """Say which shards are closed, since when, and why they stay so; those alike share a sentence."""
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        if row.closed_ms is not None:
            since = datetime.fromtimestamp(row.closed_ms / 1000, UTC).isoformat(timespec="milliseconds")
            alike[f"closed since {since}: {row.reason or 'recovering'}"].append(row.shard)
        elif row.shard in states and states[row.shard].epoch is None:
            alike["closed in Redis: nobody has fenced it yet"].append(row.shard)
    return "; ".join(f"shards {', '.join(map(str, shards))} {how}" for how, shards in alike.items())


async def _sweep(decider: RedisDecider, interval_s: float) -> None:
    """Expire what is overdue on accounts that nobody touches, for as long as the process serves."""
    while True:
        await asyncio.sleep(interval_s)
        results = await asyncio.gather(
            *(decider.sweep(shard) for shard in range(SHARDS)), return_exceptions=True
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            _log.warning("sweep_failed", shards=len(failed), reason=str(failed[0]))


@asynccontextmanager
async def _task(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
