"""The ledger's database as a simulation has it: connections that take time, break and wait for locks.

Stands in for ``persistence.database.Database`` under the real classes of that room. What statements do is
in sql.py, what a posting writes in booking.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from types import TracebackType
from typing import Any

from gateway.domain.holds import ACTIVE, Hold
from gateway.errors import MeterUnavailableError
from gateway.protocols import AccountState

from .process import Process
from .sql import meaning_of
from .tables import ACCOUNTS, HOLDS, Named, Tables, Transaction

Heard = Callable[[float], Awaitable[None]]


class Weather:
    """How the database does at the moment: the same for everyone who asks it."""

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

    async def travel(self, process: Process) -> None:
        """Take the time of one message. Raises MeterUnavailableError while the database is away."""
        await asyncio.sleep(self.delay_s())
        self.tick()
        if not process.alive:
            raise asyncio.CancelledError
        if self.absences:
            raise _unavailable("it is away")

    def may_fail(self, place: str) -> None:
        if self.chance.random() < self.fails:
            raise _unavailable(f"the connection broke {place}")


class Cursor:
    """What a statement gave."""

    def __init__(self, given: Any) -> None:
        self._rows = list(given) if isinstance(given, list) else []
        self.rowcount = given if isinstance(given, int) else len(self._rows)

    async def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows[0] if self._rows else None

    async def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    async def __aiter__(self) -> AsyncIterator[tuple[Any, ...]]:
        for row in self._rows:
            yield row


class Connection:
    """One connection: each statement is a transaction of its own, unless one was begun."""

    copies = True

    def __init__(self, database: SimDatabase) -> None:
        self._database = database
        self._at: Transaction | None = None

    @property
    def at(self) -> Transaction:
        assert self._at is not None, "this is written in a transaction only"
        return self._at

    async def execute(
        self, query: bytes | str, values: Mapping[str, Any] | None = None, **_how: Any
    ) -> Cursor:
        weather, process = self._database.weather, self._database.process
        await weather.travel(process)
        at = self._at or Transaction(self._database.tables)
        try:
            now_s = asyncio.get_running_loop().time()
            given = await meaning_of(query)(at, values if isinstance(values, dict) else {}, now_s)
            if self._at is None:
                if not process.alive:
                    raise asyncio.CancelledError
                at.commit()
        finally:
            if self._at is None:
                at.end()
        if weather.chance.random() < 0.5:
            await weather.travel(process)
        return Cursor(given)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        weather, process = self._database.weather, self._database.process
        if self._at is not None:
            with self._at.savepoint():
                yield
            return
        at = self._at = Transaction(self._database.tables)
        try:
            yield
            await weather.travel(process)
            weather.may_fail("before the commit")
            at.commit()
        finally:
            at.end()
            self._at = None
        await weather.travel(process)
        weather.may_fail("after the commit")


class SimDatabase:
    """What one process has of the database."""

    def __init__(self, process: Process, tables: Tables, weather: Weather) -> None:
        self.process = process
        self.tables = tables
        self.weather = weather

    @asynccontextmanager
    async def connection(self, *, patient: bool = False) -> AsyncIterator[Connection]:
        del patient
        await self.weather.travel(self.process)
        yield Connection(self)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def listening(self, _channel: str) -> AsyncIterator[tuple[Connection, Heard]]:
        notice = asyncio.Event()
        self.tables.notices.append(notice)

        async def heard(timeout_s: float) -> None:
            try:
                async with asyncio.timeout(timeout_s):
                    await notice.wait()
            except TimeoutError:
                return
            notice.clear()

        try:
            async with self.connection() as connection:
                yield connection, heard
        finally:
            self.tables.notices.remove(notice)

    # Implements ``StateSource``: each is one statement, and so one snapshot.

    async def load_accounts(self, wanted: list[Named]) -> Mapping[Named, AccountState]:
        await self.weather.travel(self.process)
        accounts = self.tables.data[ACCOUNTS]
        states = {
            named: AccountState(named[1], *accounts[named], self._open_holds(*named))
            for named in wanted
            if named in accounts
        }
        await self._stall()
        return states

    async def load_holds(self, wanted: list[Named]) -> Mapping[Named, Hold]:
        await self.weather.travel(self.process)
        holds = self.tables.data[HOLDS]
        found = {named: holds[named] for named in wanted if named in holds}
        await self._stall()
        return found

    def _open_holds(self, namespace: str, account: str) -> tuple[Hold, ...]:
        return tuple(
            hold
            for (owner, _), hold in self.tables.data[HOLDS].items()
            if owner == namespace and hold.status == ACTIVE and account in (leg.account for leg in hold.legs)
        )

    async def _stall(self) -> None:
        if self.weather.stalls:
            self.weather.stalls -= 1
            await asyncio.sleep(self.weather.chance.choice((12.0, 75.0, 90.0)))
        await self.weather.travel(self.process)


class Locks:
    """The one advisory lock there is; it is let go when its holder dies or loses its session."""

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


class AdvisoryLock(AbstractAsyncContextManager[None]):
    """One holder at a time, over all processes."""

    def __init__(self, database: SimDatabase, locks: Locks) -> None:
        self._database = database
        self._locks = locks
        database.process.at_death.append(self.lose)

    async def __aenter__(self) -> None:
        await self._database.weather.travel(self._database.process)
        while self._locks.holder is not None:
            freed = asyncio.get_running_loop().create_future()
            self._locks.waiting.append(freed)
            await freed
        self._locks.holder = self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lose()
        if kind is None:
            await self._database.weather.travel(self._database.process)

    def lose(self) -> None:
        self._locks.let_go(self)


def _unavailable(reason: str) -> MeterUnavailableError:
    return MeterUnavailableError(f"the ledger's database is not available: {reason}")
