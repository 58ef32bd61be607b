"""The places processes run in: each is started, killed and started again. Inside are the real classes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gateway.domain import names
from gateway.errors import MeterError, MeterUnavailableError
from gateway.store.calls import Calls
from gateway.store.decider import RedisDecider
from gateway.store.journal import RedisJournal
from gateway.store.loading import Loader
from gateway.store.shards import RedisShards
from persistence.fence import LedgerFence
from persistence.flusher import Flusher

from .links import SimLink
from .process import Process
from .sessions import Session

if TYPE_CHECKING:
    from .world import World

HOUR_MS = 3_600_000
SETTLED_MS = 60_000
SWEEP_S = 5.0
DRAIN_S = 5.0


class GoneError(Exception):
    """No answer: the process was not there, or died meanwhile. ``asked`` says whether it may have acted."""

    def __init__(self, *, asked: bool) -> None:
        super().__init__("the gateway has gone")
        self.asked = asked


class Parts:
    """What every process of ours has: links, a session, and the fence over them."""

    def __init__(self, world: World, process: Process) -> None:
        design = world.design
        self.link = world.link(process)
        self.reading = world.link(process, timeout_s=1.0 + world.mood.block_ms / 1000)
        self.session = Session(process, world.ledger, world.weather, world.locks)
        self.journal: RedisJournal = design.journal(
            self.reading, self.link, design.scripts, settled_ms=SETTLED_MS
        )
        self.shards: RedisShards = design.shards(self.link, design.scripts)
        self.fence: LedgerFence = design.fence(self.session.lock, self.session, self.journal, self.shards)

    def links(self) -> list[SimLink]:
        return [self.link, self.reading]


class Slot:
    """One process after the other."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.lives = 0
        self.process = Process(name)
        self.process.alive = False
        self.parts: Parts | None = None

    async def keep_alive(self) -> None:
        """Start the process, and again whenever it ended."""
        while True:
            self.lives += 1
            self.process = Process(f"{self.name}.{self.lives}")
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
        self.decider: RedisDecider
        self.ready = False

    def begin(self, parts: Parts) -> None:
        world, scripts = self.world, self.world.design.scripts
        loader: Loader = world.design.loader(
            parts.link, scripts, parts.session, absent_ttl_ms=world.mood.absent_ttl_ms, settled_ms=SETTLED_MS
        )
        calls: Calls = world.design.calls(parts.link, scripts, parts.fence, loader)
        self.decider = RedisDecider(calls, seen_ms=HOUR_MS, journal_max_entries=world.mood.journal_max)
        self.ready = False
        self._asked: dict[asyncio.Future[Any], None] = {}
        self.process.at_death.append(self._hang_up)

    async def live(self, parts: Parts) -> None:
        await self.decider.open()
        self.ready = True
        while True:
            await asyncio.sleep(SWEEP_S)
            await asyncio.gather(
                *(self.decider.sweep(shard) for shard in range(names.SHARDS)), return_exceptions=True
            )

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
        try:
            decision = await work(self.decider)
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
            parts.session,
            interval_ms=mood.interval_ms,
            batch_entries=mood.batch_entries,
            block_ms=mood.block_ms,
            drain_s=DRAIN_S,
        )
        await self.flusher.run(self._stop)

    def stop(self) -> None:
        """Ask it to drain and end, as SIGTERM does."""
        self._stop.set()
