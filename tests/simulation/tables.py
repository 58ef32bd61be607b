"""The ledger's tables as a simulation has them, and transactions over them. What statements mean is not here.

A transaction sees what is committed and what it wrote itself; what it wrote is there for others when it
commits, all at once, or never. Rows of shards are locked by whoever changes them, until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from gateway.domain import names
from gateway.domain.entries import Entry, Position

Named = tuple[str, str]

SHARDS = "shards"
GATEWAYS = "gateways"  # gateway id: until when its lease lives
ANSWERS = "answers"  # (shard, gateway id): fence, epoch and seq
SALVAGED = "salvaged"  # (shard, epoch, seq): Salvaged
LEFT = "left"  # (shard, epoch): last seq
LOSSES = "losses"  # (shard, epoch, first): last seq and how many were found again
ACCOUNTS = "accounts"  # Named: balance and reserved
HOLDS = "holds"  # Named: Hold
LINES = "lines"  # (namespace, entry id): amount and balance
FIRST = "first_answers"  # (namespace, key): FirstAnswer
QUARANTINE = "quarantine"  # (shard, epoch, seq): Case
DUPLICATES = "duplicates"  # (namespace, epoch, seq): Repeat


class Shard(NamedTuple):
    """A row of shards. Times are seconds of the simulation."""

    mark: Position = Position(0, -1)
    state: str = "open"
    fence: int = 0
    run_id: str = ""
    closed_ms: int | None = None
    reason: str | None = None
    opened_s: float = 0.0
    stop_reason: str | None = None


class Salvaged(NamedTuple):
    """What a gateway offered, and where it was booked."""

    head: str
    body: bytes
    key: str
    booked: Position | None


class Repeat(NamedTuple):
    """A call that was done again."""

    first: Position
    answer: str
    state: str
    undone: Position | None


class Case(NamedTuple):
    """What could not be booked as it stood."""

    head: bytes
    body: bytes
    booked: str


class Tables:
    """What is committed. ``posted`` is every entry that was ever booked, in order."""

    def __init__(self) -> None:
        self.data: dict[str, dict[Any, Any]] = {
            table: {}
            for table in (
                *(GATEWAYS, ANSWERS, SALVAGED, LEFT, LOSSES, ACCOUNTS, HOLDS, LINES, FIRST, DUPLICATES),
                *(SHARDS, QUARANTINE),
            )
        }
        self.data[SHARDS] = {shard: Shard() for shard in range(names.SHARDS)}
        self.posted: list[Entry] = []
        self.locks: dict[int, Transaction] = {}
        self.waiting: list[asyncio.Future[None]] = []
        self.notices: list[asyncio.Event] = []

    def shard(self, shard: int) -> Shard:
        found: Shard = self.data[SHARDS][shard]
        return found


class Transaction:
    """One transaction; its end lets go of its locks."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._written: dict[str, dict[Any, Any]] = {}
        self._posted: list[Entry] = []
        self._notifies = False

    def get(self, table: str, key: Any) -> Any:
        written = self._written.get(table)
        if written is not None and key in written:
            return written[key]
        return self.tables.data[table].get(key)

    def rows(self, table: str) -> Iterator[tuple[Any, Any]]:
        merged = self.tables.data[table] | self._written.get(table, {})
        return ((key, row) for key, row in merged.items() if row is not None)

    def put(self, table: str, key: Any, row: Any) -> None:
        self._written.setdefault(table, {})[key] = row

    def drop(self, table: str, key: Any) -> None:
        self.put(table, key, None)

    def book(self, entries: Iterable[Entry]) -> None:
        self._posted += entries

    def notify(self) -> None:
        self._notifies = True

    async def lock(self, shards: Iterable[int]) -> None:
        """Wait until nobody else holds the rows of these shards, and hold them."""
        for shard in sorted(shards):
            while self.tables.locks.get(shard, self) is not self:
                released = asyncio.get_running_loop().create_future()
                self.tables.waiting.append(released)
                await released
            self.tables.locks[shard] = self

    def lock_free(self, shards: Iterable[int]) -> list[int]:
        """Hold the rows of those of the shards that nobody else holds."""
        free = [shard for shard in sorted(shards) if self.tables.locks.get(shard, self) is self]
        self.tables.locks.update(dict.fromkeys(free, self))
        return free

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what is written in the block when it ends in an error."""
        written = {table: dict(rows) for table, rows in self._written.items()}
        posted = list(self._posted)
        try:
            yield
        except BaseException:
            self._written, self._posted = written, posted
            raise

    def commit(self) -> None:
        tables = self.tables
        for table, written in self._written.items():
            rows = tables.data[table]
            for key, row in written.items():
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row
        tables.posted += self._posted
        self.end()
        if self._notifies:
            for heard in tables.notices:
                heard.set()

    def end(self) -> None:
        """Let go of everything; what was not committed never was."""
        self._written, self._posted = {}, []
        tables = self.tables
        held = [shard for shard, holder in tables.locks.items() if holder is self]
        for shard in held:
            del tables.locks[shard]
        if held:
            waiting, tables.waiting = tables.waiting, []
            for released in waiting:
                if not released.done():
                    released.set_result(None)
