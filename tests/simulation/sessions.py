"""A process's way to the simulated ledger: it takes time, fails before or after the commit, and locks.

Implements ``Poster``, ``Epochs`` and ``StateSource`` of the rooms. What is booked, and how, is the ledger's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from types import TracebackType

from gateway.domain.entries import Entry, Position
from gateway.domain.holds import Hold
from gateway.errors import MeterUnavailableError
from gateway.protocols import AccountState, ShardRow

from .ledger import Named, SimLedger
from .process import Process


class Weather:
    """How the ledger's database does at the moment: the same for everyone who asks it."""

    def __init__(self, chance: Random, slowness: float, tick: Callable[[], None]) -> None:
        self.chance = chance
        self.tick = tick
        self.absences = 0
        self.storms = 0
        self.stalls = 0  # so many loads will have their answer long after they were made
        self.fails = 0.0  # the share of transactions that fail, before their commit or after it
        self._slowness = slowness

    def delay_s(self) -> float:
        """Draw how long a message takes: in a storm, far longer than anybody waits for."""
        if self.storms:
            return self.chance.choice((0.0, 0.0, 0.0, 0.1, 1.0, 15.0, 75.0))
        return self.chance.choice((0.001, 0.01, 0.1, 0.4)) if self.chance.random() < self._slowness else 0.0

    def check(self) -> None:
        if self.absences:
            raise _unavailable("it is away")

    def fail(self) -> bool:
        return self.chance.random() < self.fails


class AdvisoryLock(AbstractAsyncContextManager[None]):
    """One holder at a time, over all processes; one that dies, or loses its session, lets go."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def __aenter__(self) -> None:
        await self._session.travel()
        locks = self._session.locks
        while locks.holder is not None:
            freed = asyncio.get_running_loop().create_future()
            locks.waiting.append(freed)
            await freed
        locks.holder = self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.locks.let_go(self)
        if kind is None:
            await self._session.travel()

    def lose(self) -> None:
        self._session.locks.let_go(self)


class Locks:
    """The one lock there is."""

    def __init__(self) -> None:
        self.holder: AdvisoryLock | None = None
        self.waiting: list[asyncio.Future[None]] = []

    def let_go(self, lock: AdvisoryLock) -> None:
        if self.holder is lock:
            self.holder = None
            waiting, self.waiting = self.waiting, []
            for freed in waiting:
                if not freed.done():
                    freed.set_result(None)


class Session:
    """What one process has of the ledger."""

    def __init__(self, process: Process, ledger: SimLedger, weather: Weather, locks: Locks) -> None:
        self._process = process
        self._ledger = ledger
        self._weather = weather
        self.locks = locks
        process.at_death.append(self._die)

    def _die(self) -> None:
        holder = self.locks.holder
        if holder is not None and holder._session is self:
            holder.lose()

    def lock(self) -> AdvisoryLock:
        return AdvisoryLock(self)

    async def travel(self) -> None:
        """Take the time of one message. Raises MeterUnavailableError while the database is away."""
        weather = self._weather
        await asyncio.sleep(weather.delay_s())
        weather.tick()
        if not self._process.alive:
            raise asyncio.CancelledError
        weather.check()

    # Reading. Each is one statement, and so one snapshot.

    async def shard_rows(self) -> Sequence[ShardRow]:
        await self.travel()
        rows = self._ledger.rows()
        await self.travel()
        return rows

    async def load_accounts(self, wanted: Sequence[Named]) -> Mapping[Named, AccountState]:
        await self.travel()
        states = self._ledger.account_states(wanted)
        await self._stall()
        await self.travel()
        return states

    async def load_holds(self, wanted: Sequence[Named]) -> Mapping[Named, Hold]:
        await self.travel()
        holds = self._ledger.hold_states(wanted)
        await self._stall()
        await self.travel()
        return holds

    async def _stall(self) -> None:
        if self._weather.stalls:
            self._weather.stalls -= 1
            await asyncio.sleep(self._weather.chance.choice((12.0, 75.0, 90.0)))

    # Writing.

    async def post(self, batches: Mapping[int, Sequence[Entry]]) -> Mapping[int, Position]:
        owner = object()
        await self.travel()
        try:
            locked = self._ledger.lock_free(list(batches), owner)
            ready = {
                shard: batches[shard]
                for shard, mark in locked.items()
                if self._ledger.next_in_line(shard, mark, batches[shard])
            }
            await self.travel()
            self._may_fail("before the commit")
            self._ledger.apply(ready)
        finally:
            self._ledger.unlock(owner)
        await self.travel()
        self._may_fail("after the commit")
        return {shard: batch[-1].position for shard, batch in ready.items()}

    async def raise_epochs(self, seen: Mapping[int, Position]) -> Mapping[int, int]:
        await self.travel()
        while set(seen) & set(self._ledger.locked):
            await asyncio.sleep(0.001)
            await self.travel()
        self._may_fail("before the commit")
        raised = self._ledger.raise_epochs(seen)
        await self.travel()
        self._may_fail("after the commit")
        return raised

    def _may_fail(self, place: str) -> None:
        if self._weather.fail():
            raise _unavailable(f"the connection broke {place}")


def _unavailable(reason: str) -> MeterUnavailableError:
    return MeterUnavailableError(f"the ledger's database is not available: {reason}")
