"""The places processes run in: each is started, killed and started again. Inside are the real classes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gateway.domain import names
from gateway.errors import MeterError, MeterUnavailableError
from gateway.store.decider import RedisDecider
from gateway.store.leaving import Leaver
from gateway.store.replies import read_entry
from gateway.store.undoer import RedisUndoer
from persistence.answers import Answers
from persistence.flusher import Flusher
from persistence.upkeep import Upkeep

from .database import AdvisoryLock, SimDatabase
from .links import SimLink
from .process import Process

if TYPE_CHECKING:
    from .world import World

WINDOW_S = 3600
SETTLED_MS = 60_000
SWEEP_S = 5.0
DRAIN_S = 5.0
IDLE_MS = 60_000
LEASE_S = 10.0
TURN_S = 2.5
KEEP_DAYS = 30
UNDO_EVERY_S = 4.0


class GoneError(Exception):
    """No answer: the process was not there, or died meanwhile. ``asked`` says whether it may have acted."""

    def __init__(self, *, asked: bool) -> None:
        super().__init__("the gateway has gone")
        self.asked = asked


class Parts:
    """What every process of ours has, put together as the product does it."""

    def __init__(self, world: World, process: Process) -> None:
        design, mood = world.design, world.mood
        texts = design.scripts
        self.link = world.link(process)
        self.reading = world.link(process, timeout_s=1.0 + mood.block_ms / 1000)
        database: Any = SimDatabase(process, world.tables, world.weather)
        self.journal = design.journal(self.reading, self.link, texts, settled_ms=SETTLED_MS)
        self.ledger = design.ledger(database)
        self.fence = design.fence(
            lambda: AdvisoryLock(database, world.locks),
            self.ledger,
            design.closings(database, read_entry),
            self.journal,
            design.shards(self.link, texts),
            answers_s=LEASE_S,
        )
        loader = design.loader(
            self.link, texts, database, absent_ttl_ms=mood.absent_ttl_ms, settled_ms=SETTLED_MS
        )
        self.kept = design.kept()
        self.calls = design.calls(self.link, texts, self.fence, loader, kept=self.kept)
        self.link.on_other_run(self.calls.suspect)
        self.answers = Answers(database)
        self.decider = RedisDecider(
            self.calls,
            design.answers(self.answers, WINDOW_S, world.loop.time),
            seen_ms=WINDOW_S * 1000,
            journal_max_entries=mood.journal_max,
        )
        self.lease = design.lease(database, self.kept, self.calls.open)

    def links(self) -> list[SimLink]:
        return [self.link, self.reading]


class Slot:
    """One process after the other."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.lives = 0
        self.process = Process(name, world.loop)
        self.process.alive = False
        self.parts: Parts | None = None

    async def keep_alive(self) -> None:
        """Start the process, and again whenever it ended."""
        while True:
            self.lives += 1
            self.process = Process(f"{self.name}.{self.lives}", self.world.loop)
            self.parts = Parts(self.world, self.process)
            self.begin(self.parts)
            main = self.process.start(self.live(self.parts))
            await asyncio.wait([main])
            self.process.kill()
            if not main.cancelled() and (error := main.exception()) is not None:
                self.world.note("ended", self.name, repr(error))
                if not isinstance(error, MeterUnavailableError):
                    self.world.complain(f"{self.name} ended: {error!r}")
            await asyncio.sleep(self.world.chance.choice((0.0, 0.01, 0.3, 2.0)))

    def begin(self, parts: Parts) -> None:
        """Put the process together."""

    async def live(self, parts: Parts) -> None:
        """Do what the process is there for."""
        raise NotImplementedError

    def kill(self) -> None:
        self.world.note("killed", self.name)
        self.process.kill()


class Gateway(Slot):
    """Serves clients, and sweeps."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.ready = False
        self._asked: dict[asyncio.Future[Any], None] = {}

    def begin(self, parts: Parts) -> None:
        self.ready = False
        self._asked = {}
        self.process.at_death.append(self._hang_up)

    async def live(self, parts: Parts) -> None:
        async with parts.lease.held():
            await parts.decider.open()
            self.ready = True
            while True:
                await asyncio.sleep(SWEEP_S)
                sweeps = (parts.decider.sweep(shard) for shard in range(names.SHARDS))
                await asyncio.gather(*sweeps, return_exceptions=True)

    def ask(self, work: Callable[[RedisDecider], Awaitable[Any]]) -> asyncio.Future[Any]:
        """Send a request; give the future of its answer. Raises GoneError and what the meter raises."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self.process.alive or not self.ready:
            answer.set_exception(GoneError(asked=False))
            return answer
        self._asked[answer] = None
        self.process.start(self._handle(work, answer))
        return answer

    async def _handle(
        self, work: Callable[[RedisDecider], Awaitable[Any]], answer: asyncio.Future[Any]
    ) -> None:
        assert self.parts is not None
        try:
            decision = await work(self.parts.decider)
        except MeterError as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(decision)
        self._asked.pop(answer, None)

    def _hang_up(self) -> None:
        self.ready = False
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(GoneError(asked=True))


class FlusherSlot(Slot):
    """Posts the journals; starts with a fence, as the command does."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.flusher: Flusher | None = None
        self._stop = asyncio.Event()

    def begin(self, parts: Parts) -> None:
        self.flusher = None
        self._stop = asyncio.Event()

    async def live(self, parts: Parts) -> None:
        await parts.fence.raise_up()
        mood = self.world.mood
        self.flusher = self.world.design.flusher(
            parts.journal,
            parts.ledger,
            interval_ms=mood.interval_ms,
            batch_entries=mood.batch_entries,
            block_ms=mood.block_ms,
            drain_s=DRAIN_S,
            faults=parts.ledger,
        )
        upkeep = Upkeep(
            parts.answers,
            RedisUndoer(parts.calls, parts.answers),
            keep_days=KEEP_DAYS,
            undo_every_s=UNDO_EVERY_S,
        )
        tidying = asyncio.create_task(self._tidy(parts))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.flusher.run(self._stop))
            group.create_task(upkeep.run(self._stop))
        tidying.cancel()

    async def _tidy(self, parts: Parts) -> None:
        """Let idle accounts leave Redis."""
        leaver = Leaver(parts.link, parts.calls, idle_ms=IDLE_MS)
        while self.world.mood.leaves:
            with contextlib.suppress(MeterUnavailableError):
                await leaver.walk()
            await asyncio.sleep(leaver.interval_s)

    def stop(self) -> None:
        """Ask it to drain and end, as SIGTERM does."""
        self._stop.set()
