"""Both databases, joined: what a meter, a flusher and the commands need of them. Nothing is decided here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

import structlog

from gateway.domain.durability import FSYNC, JOURNAL, REPLICATED, Durability
from gateway.meter import Backend, Meter
from gateway.protocols import Observer
from gateway.reconcile.reconciler import Reconciler
from gateway.running.chores import running_chore
from gateway.running.inbox_worker import InboxWorker
from gateway.running.operations import Meters
from gateway.running.rolling import Roller
from gateway.running.tidying import Expirer, keep_expiring, keep_leaving, keep_rolling, keep_settled
from gateway.settings import Settings, SettingsError
from gateway.store.address import AddressError
from gateway.store.auditor import RedisAuditor
from gateway.store.calls import Calls
from gateway.store.decider import RedisDecider
from gateway.store.first_answers import FirstAnswers
from gateway.store.journal import RedisJournal
from gateway.store.kept import Kept
from gateway.store.leaving import Leaver
from gateway.store.loading import Loader
from gateway.store.pipeline import Pipeline, RoundTripObserver, unobserved
from gateway.store.replies import read_entry
from gateway.store.scripts import Script, scripts
from gateway.store.server import primary_of, volatility
from gateway.store.shards import RedisShards
from gateway.store.tls import TlsOptionsError
from gateway.store.undoer import RedisUndoer
from gateway.store.witness import Question, Witness, of_disk, of_replicas
from persistence.answers import Answers
from persistence.closings import Closings
from persistence.database import Database
from persistence.errors import MigrationError, RoleError
from persistence.fence import LedgerFence
from persistence.flusher import Flusher
from persistence.inbox import LedgerInbox
from persistence.leases import Lease
from persistence.ledger import Ledger
from persistence.locks import exclusive
from persistence.migrations import migrate
from persistence.patience import Trouble
from persistence.queries import Queries
from persistence.reckoner import LedgerReckoner
from persistence.retention import Retention
from persistence.roles import check_role
from persistence.upkeep import Upkeep
from persistence.walks import Walks

_log = structlog.get_logger("quotagate.app")
_READ_BLOCK_MS = 1000

# Each has a connection of its own, which is opened when a call first asks for that level.
_QUESTIONS: Mapping[Durability, Callable[[Settings], Question]] = {
    REPLICATED: lambda settings: of_replicas(settings.replicas, settings.durability_timeout_ms),
    FSYNC: lambda settings: of_disk(settings.durability_timeout_ms),
}


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
    closings: Closings
    lease: Lease
    inbox: LedgerInbox
    observer: Observer
    careful: RedisDecider  # asks the ledger for every key

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
        """Run the flusher and all that is beside it until ``stop`` is set and the flusher has drained."""
        upkeep = Upkeep(self.answers, self.undoer, keep_days=settings.idempotency_retention_days)
        retention = Retention(self.database, keep_months=settings.ledger_retention_months)
        async with self._tidying(settings), asyncio.TaskGroup() as group:
            group.create_task(self.flusher(settings, tell).run(stop))
            group.create_task(upkeep.run(stop))
            group.create_task(retention.run(stop))
            group.create_task(self.inbox_worker(settings).run(stop))

    async def post_alone(
        self, settings: Settings, stop: asyncio.Event, tell: Callable[[Trouble], None] | None = None
    ) -> None:
        """Do the same in a process that holds no lease, so that nobody ever asks it for what it keeps."""
        async with running_chore("settle", partial(keep_settled, self.calls.kept, self.ledger.shard_rows)):
            await self.post(settings, stop, tell)

    def inbox_worker(self, settings: Settings) -> InboxWorker:
        """Make a worker that carries out what is recorded in SQL."""
        return InboxWorker(
            self.inbox,
            self.decider,
            self.calls.open,
            self._meters(self.decider, settings),
            self._meters(self.careful, settings),
            window_s=settings.idempotency_window_seconds,
            wait_s=settings.report_wait_ms / 1000,
            keep_days=settings.operation_retention_days,
            turns=min(2, settings.database_pool_size // 2),  # the posting needs connections as well
            drain_s=settings.drain_seconds,
        )

    def _meters(self, decider: RedisDecider, settings: Settings) -> Meters:
        wait_s = settings.report_wait_ms / 1000
        backend = Backend(decider, self.reports, self.observer, self.reconciler, wait_s, JOURNAL)
        return lambda namespace, actor: Meter(backend, namespace, actor)

    @asynccontextmanager
    async def _tidying(self, settings: Settings) -> AsyncIterator[None]:
        """See to what nobody touches meanwhile: idle accounts, overdue holds, periods."""
        leaver = Leaver(self.link, self.calls, idle_ms=settings.idle_account_seconds * 1000)
        expirer = Expirer(self.decider, Walks(self.database), overdue_ms=settings.overdue_hold_ms)
        roller = Roller(self.decider, Walks(self.database))
        async with (
            running_chore("roll", partial(keep_rolling, roller)),
            running_chore("leave", partial(keep_leaving, leaver)),
            running_chore("expire", partial(keep_expiring, expirer)),
        ):
            yield


@asynccontextmanager
async def open_store(settings: Settings, observer: Observer) -> AsyncIterator[Store]:
    """Connect to Redis and Postgres, bring the schema up to date, and close again at the end.

    Raises MeterUnavailableError when one of the two does not answer, SettingsError when one of them cannot
    be used: a URL nobody understands, a schema this program does not know, a Redis that could forget.
    """
    async with AsyncExitStack() as closing:
        # First, for they do not connect yet: a URL that is a mistake is told while a database is away, too.
        timeout_s = settings.redis_timeout_ms / 1000
        link = _link(settings, timeout_s, observer.round_trip)
        closing.push_async_callback(link.close)
        # A read waits on the server for entries, and replies come in order: decisions would wait behind it.
        reading = _link(settings, timeout_s + _READ_BLOCK_MS / 1000)
        closing.push_async_callback(reading.close)
        asking = [_link(settings, timeout_s + settings.durability_timeout_ms / 1000) for _ in _QUESTIONS]
        for one in asking:
            closing.push_async_callback(one.close)
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
        await _check_role(database)
        await _check_redis(link, allowed=settings.allow_volatile_redis)
        yield _joined(settings, observer, database, link, reading, asking)


async def _migrate(database_url: str) -> None:
    try:
        await migrate(database_url)
    except MigrationError as error:
        raise SettingsError([f"QUOTAGATE_DATABASE_URL: {error}"]) from error


async def _check_role(database: Database) -> None:
    try:
        await check_role(database)
    except RoleError as error:
        raise SettingsError([f"QUOTAGATE_DATABASE_URL: {error}"]) from error


def _link(
    settings: Settings,
    timeout_s: float,
    observe: RoundTripObserver = unobserved,
) -> Pipeline:
    try:
        return Pipeline(_given(settings.redis_url), timeout_s=timeout_s, observe=observe)
    except (AddressError, TlsOptionsError) as error:
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
    settings: Settings,
    observer: Observer,
    database: Database,
    link: Pipeline,
    reading: Pipeline,
    asking: Sequence[Pipeline],
) -> Store:
    texts = scripts()
    reports, ledger = Queries(database), Ledger(database)
    journal = RedisJournal(reading, link, texts, settled_ms=settings.settled_hold_seconds * 1000)
    shards = RedisShards(link, texts)
    closings = Closings(database, read_entry)
    fence = LedgerFence(lambda: exclusive(database, "fence"), ledger, closings, journal, shards)
    kept = Kept(max_entries=settings.kept_max_entries, max_bytes=settings.kept_max_bytes)
    answers = Answers(database)
    loader = _loader(settings, link, texts, reports)
    calls = Calls(link, texts, fence, loader, kept=kept, first_period=answers.first_period)
    link.on_other_run(calls.suspect)
    witnesses = _witnesses(settings, asking, texts["mark"], calls)
    return Store(
        decider=_decider(settings, calls, answers, witnesses, careful=False),
        careful=_decider(settings, calls, answers, witnesses, careful=True),
        reports=reports,
        ledger=ledger,
        journal=journal,
        shards=shards,
        fence=fence,
        answers=answers,
        undoer=RedisUndoer(calls, answers),
        calls=calls,
        link=link,
        database=database,
        reconciler=Reconciler(
            RedisAuditor(calls), LedgerReckoner(database), reports, wait_s=settings.report_wait_ms / 1000
        ),
        closings=closings,
        lease=Lease(database, kept, calls.open),
        inbox=LedgerInbox(database),
        observer=observer,
    )


def _loader(settings: Settings, link: Pipeline, texts: Mapping[str, Script], reports: Queries) -> Loader:
    return Loader(
        link,
        texts,
        reports,
        absent_ttl_ms=settings.absent_ttl_seconds * 1000,
        settled_ms=settings.settled_hold_seconds * 1000,
    )


def _witnesses(
    settings: Settings, asking: Sequence[Pipeline], mark: Script, calls: Calls
) -> Mapping[str, Witness]:
    return {
        level: Witness(link, mark, calls.keys, question(settings))
        for link, (level, question) in zip(asking, _QUESTIONS.items(), strict=True)
    }


def _decider(
    settings: Settings,
    calls: Calls,
    answers: Answers,
    witnesses: Mapping[str, Witness],
    *,
    careful: bool,
) -> RedisDecider:
    return RedisDecider(
        calls,
        FirstAnswers(answers, settings.idempotency_window_seconds, always=careful),
        seen_ms=settings.idempotency_window_seconds * 1000,
        late_commit=settings.late_commit,
        journal_max_entries=settings.journal_max_entries,
        journal_max_bytes=settings.journal_max_bytes,
        witnesses=witnesses,
        durability_bound_s=settings.durability_timeout_ms / 1000,
    )


def _given(url: str | None) -> str:
    if url is None:
        raise ValueError("a store needs the URLs of Redis and Postgres")
    return url
