"""Looks at both databases for /readyz and /metrics, within a bound. Mends nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from gateway.domain.entries import Position
from gateway.domain.times import moment_of
from gateway.errors import MeterError
from gateway.joined import Store
from gateway.running.flushing import FlusherNews
from gateway.seams.shards import Health, Readiness, ShardLag, ShardRow, ShardState, StoppedShard
from gateway.store.server import primary_of, shortage

Found = TypeVar("Found")


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
        of_redis = asyncio.gather(
            self._asked("redis", store.shards.states, faults),
            self._asked("redis", lambda: primary_of(store.link), faults, "role"),
            self._asked("redis", lambda: shortage(store.link), faults, "memory"),
            self._asked("redis", store.shards.clock_ahead_s, faults, "clock"),
        )
        of_epochs = asyncio.gather(
            self._asked("postgres", store.closings.proven_loss, {}, "losses"),
            self._asked("postgres", store.closings.unheard_epochs, {}, "unheard"),
        )
        rows, ledger, open_holds, duplicates, inbox = await asyncio.gather(
            self._asked("postgres", store.ledger.shard_rows, faults),
            self._asked("postgres", store.ledger.faults, faults, "faults"),
            self._asked("postgres", store.reports.count_open_holds, {}, "holds"),
            self._asked("postgres", store.answers.count_duplicates, {}, "duplicates"),
            self._asked("postgres", store.inbox.state, {}, "inbox"),
        )
        losses, unheard = await of_epochs
        found, primary, short, ahead_s = await of_redis
        states = found or {}
        lag = _lag(states, rows or ())
        stopped, quarantined = ledger or ((), None)
        held_back = store.decider.held_back({shard.shard: shard.entries for shard in lag})
        faults |= _faults(_closed(states, rows or ()), primary, short, stopped, held_back, self._news)
        return Readiness(
            faults=faults,
            epochs={shard: state.epoch for shard, state in states.items() if state.epoch is not None},
            lag=None if found is None else lag,
            open_holds=open_holds,
            stopped=stopped,
            quarantined=quarantined,
            retries=None if self._news is None else self._news.retries,
            duplicates=duplicates,
            clock_ahead_s=ahead_s or 0.0,
            proven_loss=losses,
            inbox=inbox,
            unheard_epochs=unheard,
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
    closed: str,
    primary: str | None,
    short: str | None,
    stopped: Sequence[StoppedShard],
    held_back: Sequence[int],
    news: FlusherNews | None,
) -> dict[str, str]:
    faults: dict[str, str] = {}
    if primary:
        faults["redis"] = f"is a replica of {primary}, which decides nothing"
    if short:
        faults["memory"] = short
    if closed:
        faults["epoch"] = closed
    if stopped:
        faults["shards"] = "; ".join(
            f"shard {s.shard} is not posted since {s.since.isoformat(timespec='seconds')}: {s.reason}"
            for s in stopped
        )
    if held_back:
        faults["journal"] = f"writes are refused until the ledger has caught up on shards {list(held_back)}"
    if news is not None and news.fault:
        faults["flusher"] = news.fault
    return faults


def _closed(states: Mapping[int, ShardState], rows: Iterable[ShardRow]) -> str:
    """Say which shards are closed, since when, and why they stay so; those alike share a sentence."""
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        if row.closed_ms is not None:
            since = moment_of(row.closed_ms).isoformat(timespec="milliseconds")
            alike[f"closed since {since}: {row.reason or 'recovering'}"].append(row.shard)
        elif row.shard in states and states[row.shard].epoch is None:
            alike["closed in Redis: nobody has fenced it yet"].append(row.shard)
    return "; ".join(f"shards {', '.join(map(str, shards))} {how}" for how, shards in alike.items())
