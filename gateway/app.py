"""A running gateway, put together: the one place besides cli and embedded that knows both databases.

Nothing is decided here. ``open_store`` joins Redis and Postgres into what a ``Meter`` needs; ``open_gateway``
adds what a serving process runs beside it: the sweeper, the flusher, health and the HTTP application.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any, NamedTuple, TypeVar

import structlog

from gateway.api.asgi import api_app
from gateway.api.auth import Authenticator, NoKeys, SingleKey
from gateway.api.fast import FastLane
from gateway.domain.durability import FSYNC, REPLICATED, Durability
from gateway.domain.entries import Position
from gateway.domain.names import SHARDS
from gateway.errors import MeterError, MeterValidationError
from gateway.flushing import FlusherNews
from gateway.meter import Backend, Meter
from gateway.metrics import Metrics
from gateway.protocols import (
    NOBODY,
    Actor,
    Health,
    Observer,
    Readiness,
    ShardLag,
    ShardRow,
    ShardState,
    StoppedShard,
)
from gateway.reconciling import ROUNDS, Orders, Reconciler
from gateway.rounds import RoundObserver, Rounds
from gateway.settings import Settings, SettingsError
from gateway.store.auditor import RedisAuditor
from gateway.store.calls import Calls
from gateway.store.decider import RedisDecider
from gateway.store.first_answers import FirstAnswers
from gateway.store.journal import RedisJournal
from gateway.store.leaving import Leaver
from gateway.store.loading import Loader
from gateway.store.pipeline import Pipeline, RoundTripObserver, unobserved
from gateway.store.scripts import scripts
from gateway.store.server import primary_of, shortage, volatility
from gateway.store.shards import RedisShards
from gateway.store.tls import TlsOptionsError
from gateway.store.undoer import RedisUndoer
from gateway.store.witness import Question, Witness, of_disk, of_replicas
from gateway.tidying import Expirer, keep_tidy
from persistence.answers import Answers
from persistence.database import Database
from persistence.errors import MigrationError
from persistence.fence import LedgerFence
from persistence.flusher import Flusher
from persistence.ledger import Ledger
from persistence.locks import exclusive
from persistence.migrations import migrate
from persistence.patience import Trouble
from persistence.queries import Queries
from persistence.reckoner import LedgerReckoner
from persistence.upkeep import Upkeep
from persistence.walks import Walks

_log = structlog.get_logger("quotagate.app")

_READ_BLOCK_MS = 1000

# Each has a connection of its own, which is opened when a call first asks for that level.
_QUESTIONS: Mapping[Durability, Callable[[Settings], Question]] = {
    REPLICATED: lambda settings: of_replicas(settings.replicas, settings.durability_timeout_ms),
    FSYNC: lambda settings: of_disk(settings.durability_timeout_ms),
}

Found = TypeVar("Found")


class Store(NamedTuple):
    """Both databases, joined."""

    decider: RedisDecider
    reports: Queries
    ledger: Ledger
    journal: RedisJournal
    shards: RedisShards
    fence: LedgerFence
    answers: Answers
    undoer: RedisUndoer
    calls: Calls
    link: Pipeline
    database: Database
    reconciler: Reconciler

    def flusher(self, settings: Settings, tell: Callable[[Trouble], None] | None = None) -> Flusher:
        """Make the flusher of this store; ``tell`` hears what is in its way, beside the log."""
        return Flusher(
            self.journal,
            self.ledger,
            interval_ms=settings.flush_interval_ms,
            batch_entries=settings.flush_batch_entries,
            drain_s=settings.drain_seconds,
            faults=self.ledger,
            tell=tell,
        )

    async def post(
        self, settings: Settings, stop: asyncio.Event, tell: Callable[[Trouble], None] | None = None
    ) -> None:
        """Run the flusher, and the upkeep beside it, until ``stop`` is set and the flusher has drained."""
        upkeep = Upkeep(self.answers, self.undoer, keep_days=settings.idempotency_retention_days)
        async with running_task(self._tidy(settings)), asyncio.TaskGroup() as group:
            group.create_task(self.flusher(settings, tell).run(stop))
            group.create_task(upkeep.run(stop))

    async def _tidy(self, settings: Settings) -> None:
        """Let idle accounts leave Redis and expire overdue holds that are not in it, until cancelled."""
        leaver = Leaver(self.link, self.calls, idle_ms=settings.idle_account_seconds * 1000)
        await keep_tidy(leaver, Expirer(self.decider, Walks(self.database)))


@asynccontextmanager
async def open_store(settings: Settings, observer: Observer) -> AsyncIterator[Store]:
    """Connect to Redis and Postgres, bring the schema up to date, and close again at the end.

    Raises MeterUnavailableError when one of the two does not answer, SettingsError when one of them cannot
    be used: a URL nobody understands, a schema this program does not know, a Redis that could forget.
    """
    async with AsyncExitStack() as closing:
        database = Database(
            _given(settings.database_url),
            max_size=settings.database_pool_size,
            statement_timeout_ms=settings.posting_timeout_ms,
            timeout_s=settings.database_timeout_ms / 1000,
            posting_timeout_s=settings.posting_timeout_ms / 1000,
        )
        await database.open()
        closing.push_async_callback(database.close)
        await _migrate(_given(settings.database_url))
        timeout_s = settings.redis_timeout_ms / 1000
        link = _link(settings, timeout_s, observer.round_trip)
        closing.push_async_callback(link.close)
        # An entry that is no UTF-8 is one bad entry, and no reason to read none at all.
        reading = _link(settings, timeout_s + _READ_BLOCK_MS / 1000)
        closing.push_async_callback(reading.close)
        await _check_redis(link, allowed=settings.allow_volatile_redis)
        asking = [_link(settings, timeout_s + settings.durability_timeout_ms / 1000) for _ in _QUESTIONS]
        for one in asking:
            closing.push_async_callback(one.close)
        yield _joined(settings, database, link, reading, asking)


async def _migrate(database_url: str) -> None:
    try:
        await migrate(database_url)
    except MigrationError as error:
        raise SettingsError([f"QUOTAGATE_DATABASE_URL: {error}"]) from error


def _link(
    settings: Settings,
    timeout_s: float,
    observe: RoundTripObserver = unobserved,
) -> Pipeline:
    try:
        return Pipeline(_given(settings.redis_url), timeout_s=timeout_s, observe=observe)
    except TlsOptionsError as error:
        raise SettingsError([f"QUOTAGATE_REDIS_URL: {error}"]) from error
    except ValueError:
        # What the parser says may quote the password.
        advice = "percent-encode what is special in the password"
        raise SettingsError([f"QUOTAGATE_REDIS_URL: is not the URL of a Redis; {advice}"]) from None


async def _check_redis(link: Pipeline, *, allowed: bool) -> None:
    primary = await primary_of(link)
    if primary is not None:
        raise SettingsError(
            [f"QUOTAGATE_REDIS_URL: is a replica, which decides nothing; use its primary, {primary}"]
        )
    reasons = await volatility(link)
    for reason in reasons:
        _log.warning("redis_may_forget", reason=reason)
    if reasons and not allowed:
        problem = "; ".join(reasons)
        raise SettingsError(
            [f"QUOTAGATE_REDIS_URL: {problem}; QUOTAGATE_ALLOW_VOLATILE_REDIS=1 uses it anyway"]
        )


def _joined(
    settings: Settings, database: Database, link: Pipeline, reading: Pipeline, asking: Sequence[Pipeline]
) -> Store:
    texts = scripts()
    settled_ms = settings.settled_hold_seconds * 1000
    reports, ledger = Queries(database), Ledger(database)
    journal = RedisJournal(reading, link, texts, settled_ms=settled_ms)
    shards = RedisShards(link, texts)
    fence = LedgerFence(lambda: exclusive(database, "fence"), ledger, journal, shards)
    loader = Loader(
        link, texts, reports, absent_ttl_ms=settings.absent_ttl_seconds * 1000, settled_ms=settled_ms
    )
    calls = Calls(link, texts, fence, loader)
    answers = Answers(database)
    decider = RedisDecider(
        calls,
        FirstAnswers(answers, settings.idempotency_window_seconds),
        seen_ms=settings.idempotency_window_seconds * 1000,
        late_commit=settings.late_commit,
        journal_max_entries=settings.journal_max_entries,
        journal_max_bytes=settings.journal_max_bytes,
        witnesses={
            level: Witness(one, texts["mark"], calls.keys, question(settings))
            for one, (level, question) in zip(asking, _QUESTIONS.items(), strict=True)
        },
        durability_bound_s=settings.durability_timeout_ms / 1000,
    )
    undoer = RedisUndoer(calls, answers)
    reconciler = Reconciler(
        RedisAuditor(calls), LedgerReckoner(database), reports, wait_s=settings.report_wait_ms / 1000
    )
    return Store(
        decider,
        reports,
        ledger,
        journal,
        shards,
        fence,
        answers,
        undoer,
        calls,
        link,
        database,
        reconciler,
    )


def _given(url: str | None) -> str:
    if url is None:
        raise ValueError("a store needs the URLs of Redis and Postgres")
    return url


@asynccontextmanager
async def open_backend(settings: Settings, observer: Observer) -> AsyncIterator[tuple[Store, Backend]]:
    """Open the store and what meters share."""
    async with open_store(settings, observer) as store:
        await store.decider.open()
        await _check_durability(store.decider, settings.durability)
        wait_s = settings.report_wait_ms / 1000
        yield (
            store,
            Backend(store.decider, store.reports, observer, store.reconciler, wait_s, settings.durability),
        )


async def _check_durability(decider: RedisDecider, level: Durability) -> None:
    """See that the level of this deployment can be reached on this Redis."""
    try:
        await decider.check_durability(level)
    except MeterValidationError as error:
        reasons = "; ".join(fault.detail for fault in error.errors)
        raise SettingsError([f"QUOTAGATE_DURABILITY={reasons}"]) from error


@asynccontextmanager
async def open_gateway(settings: Settings, news: FlusherNews | None = None) -> AsyncIterator[FastLane]:
    """Open everything a serving process runs; give the application to serve. ``news`` is of its flusher."""
    metrics = Metrics()
    async with open_backend(settings, metrics) as (store, backend), AsyncExitStack() as running:
        await running.enter_async_context(
            running_task(_sweep(store.decider, settings.sweep_interval_ms / 1000))
        )

        nobodys = lru_cache(maxsize=1024)(partial(Meter, backend))

        if settings.reconcile_accounts_per_second:
            await running.enter_async_context(running_task(rounds(store, settings, metrics).run()))

        def meters(namespace: str, actor: Actor) -> Meter:
            return nobodys(namespace) if actor is NOBODY else Meter(backend, namespace, actor)

        yield api_app(
            meters,
            _authenticator(settings),
            StoreHealth(store, news),
            metrics,
            version=version("quotagate"),
            max_body_bytes=settings.request_max_bytes,
        )


def rounds(store: Store, settings: Settings, observer: RoundObserver, orders: Orders = ROUNDS) -> Rounds:
    """Make what reconciles everything round and round, at the rate that is set."""
    return Rounds(
        store.reconciler,
        observer,
        accounts_per_second=max(1, settings.reconcile_accounts_per_second),
        interval_s=settings.reconcile_interval_seconds,
        orders=orders,
    )


def _authenticator(settings: Settings) -> Authenticator:
    if not settings.needs_key():
        return NoKeys()
    if settings.api_key is None:
        raise SettingsError(["QUOTAGATE_API_KEY: is not set, and callers need a key"])
    return SingleKey(settings.api_key)


@asynccontextmanager
async def running_flusher(store: Store, settings: Settings) -> AsyncIterator[None]:
    """Run the flusher, and what keeps Redis small beside it, in this event loop; drain at the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(store.post(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await task


class StoreHealth(Health):
    """Looks at both databases for /readyz and /metrics, within a bound whatever they do."""

    def __init__(self, store: Store, news: FlusherNews | None = None, timeout_s: float = 2.0) -> None:
        self._store = store
        self._news = news
        self._timeout_s = timeout_s
        self._looks: dict[str, asyncio.Task[Any]] = {}

    async def readiness(self) -> Readiness:
        """Ask both databases everything at once; what does not answer in time is a fault."""
        faults: dict[str, str] = {}
        store = self._store
        found, short, rows, ledger, open_holds, duplicates = await asyncio.gather(
            self._asked("redis", store.shards.states, faults),
            self._asked("redis", lambda: shortage(store.link), faults, "memory"),
            self._asked("postgres", store.ledger.shard_rows, faults),
            self._asked("postgres", store.ledger.faults, faults, "faults"),
            self._asked("postgres", store.reports.count_open_holds, {}, "holds"),
            self._asked("postgres", store.answers.count_duplicates, {}, "duplicates"),
        )
        states = found or {}
        lag = _lag(states, rows or ())
        stopped, quarantined = ledger or ((), None)
        held_back = store.decider.held_back({s.shard: s.head.seq - s.watermark.seq for s in lag})
        faults |= _faults(states, short, stopped, held_back)
        retries = None
        if self._news is not None:
            retries = self._news.retries
            faults |= {"flusher": self._news.fault} if self._news.fault else {}
        epochs = {shard: state.epoch for shard, state in states.items() if state.epoch is not None}
        known = None if found is None else lag
        ahead_s = await self._asked("redis", store.shards.clock_ahead_s, faults, "clock") if states else None
        return Readiness(
            faults, epochs, known, open_holds, stopped, quarantined, retries, duplicates, ahead_s or 0.0
        )

    async def _asked(
        self, part: str, ask: Callable[[], Awaitable[Found]], faults: dict[str, str], what: str = ""
    ) -> Found | None:
        """Ask, or wait for the answer to the same question where one is still open.

        A question that takes too long is not cancelled, for that takes its time as well: it has a bound of
        its own.
        """
        look = self._looks.get(part + what)
        if look is None or look.done():
            look = self._looks[part + what] = asyncio.ensure_future(ask())
            look.add_done_callback(_hear)
        await asyncio.wait([look], timeout=self._timeout_s)
        try:
            if look.done():
                answer: Found = look.result()
                return answer
            faults[part] = f"no answer within {self._timeout_s} s"
        except MeterError as error:
            faults[part] = error.message
        return None


def _hear(look: asyncio.Future[Any]) -> None:
    """Take note of an error that nobody may be waiting for any more."""
    if not look.cancelled():
        look.exception()


def _lag(states: Mapping[int, ShardState], rows: Sequence[ShardRow]) -> Sequence[ShardLag]:
    """Give the lag of every shard that has a journal: Redis knows it also while Postgres is away."""
    marks = {row.shard: row.watermark for row in rows}
    for shard, state in states.items():
        if state.epoch is not None:
            marks[shard] = Position(state.epoch, state.posted)
    return [
        ShardLag(shard, state.head, marks[shard])
        for shard, state in states.items()
        if shard in marks and state.head.seq >= 0
    ]


def _faults(
    states: Mapping[int, ShardState],
    short: str | None,
    stopped: Sequence[StoppedShard],
    held_back: Sequence[int],
) -> dict[str, str]:
    faults: dict[str, str] = {}
    if short:
        faults["memory"] = short
    if closed := [shard for shard, state in states.items() if state.epoch is None]:
        faults["epoch"] = f"closed shards: {closed}"
    if stopped:
        faults["shards"] = "; ".join(
            f"shard {s.shard} is not posted since {s.since.isoformat(timespec='seconds')}: {s.reason}"
            for s in stopped
        )
    if held_back:
        faults["journal"] = f"writes are refused until the ledger has caught up on shards {list(held_back)}"
    return faults


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
async def running_task(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run some work for as long as the context lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
