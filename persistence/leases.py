"""The lease of a process that acknowledges, and its answers to closings. What it has kept is the keeper's.

A fence waits for every process whose lease lives. The process renews it, looks for closings, stops
acknowledging in what is being closed, and offers what the ledger may not have. A process that stood still for
longer than its lease finds that the epoch was left without it, and offers the same then: late, and booked
once all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import uuid4

import psycopg
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_fixed

from gateway.domain.entries import KeptEntry, Position
from gateway.errors import MeterError, MeterUnavailableError
from gateway.seams.shards import ShardRow
from persistence.closings import CHANNEL
from persistence.database import Connection, Database
from persistence.patience import Sparing
from persistence.shards import shard_rows
from persistence.statements import statement

_RENEW = statement("renew_lease")
_END = statement("end_lease")
_SHARE = statement("share_shards")
_OFFER = statement("offer_salvage")
_ANSWER = statement("answer_closings")

_log = structlog.get_logger("quotagate.lease")

LEASE_S = 2.0
_TURN_S = 0.5  # between looks, when nobody calls
_AWAY_S = 0.5  # between attempts while the database is away
_STUCK_TURNS = 6  # after which a closing that nobody finishes is taken up here

Place = tuple[int, int]  # a shard and an epoch


class Keeper(Protocol):
    """What a process has acknowledged and the ledger may not have yet; it answers closings."""

    def close(self, shard: int, epoch: int, fence: int) -> None:
        """Acknowledge nothing more in this epoch until the closing of this number is over."""
        ...

    def acknowledged(self, shard: int, epoch: int) -> int:
        """Give the last sequence of the epoch that was acknowledged here, -1 for none."""
        ...

    def kept(self, shard: int, epoch: int) -> Sequence[KeptEntry]:
        """Give what was acknowledged in the epoch and is not known to be posted, in order."""
        ...

    def left(self, epochs: Mapping[int, int]) -> Sequence[tuple[int, int]]:
        """Give each (shard, epoch) of which something is kept though the shard has a later epoch."""
        ...

    def forget(self, shard: int, epoch: int) -> None:
        """Drop what is kept of an epoch: it is in the ledger, or offered to it."""
        ...

    def settle(self, watermarks: Mapping[int, Position]) -> None:
        """Drop what is posted."""
        ...


class Lease:
    """Keeps the lease of one process and answers for it.

    Args:
        database: the ledger's.
        keeper: what this process has acknowledged.
        recover: runs the fence; called for closings that nobody finishes, and for late entries.
    """

    def __init__(self, database: Database, keeper: Keeper, recover: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._keeper = keeper
        self._recover = recover
        self._gateway_id = str(uuid4())
        self._answered: dict[int, int] = {}
        self._stuck = 0
        self._complaining = Sparing()
        self._recovering: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lease for as long as the block lasts. Raises MeterUnavailableError at its beginning."""
        async with self._database.connection() as connection:
            await self._renew(connection)
        work = asyncio.create_task(self._work())
        try:
            yield
        finally:
            tasks = [task for task in (work, self._recovering) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._end()

    async def _work(self) -> None:
        # Whatever happens: of what a process without a lease acknowledges, no fence would hear.
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_fixed(_AWAY_S),
            before_sleep=self._not_renewed,
        )
        await retrying(self._turn_by_turn)

    async def _turn_by_turn(self) -> None:
        async with self._database.listening(CHANNEL) as (connection, heard):
            while True:
                await self._turn(connection)
                await heard(_TURN_S)

    def _not_renewed(self, state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        expected = isinstance(failure, MeterUnavailableError | psycopg.Error)
        if self._complaining.due():
            _log.warning("lease_not_renewed", reason=str(failure), exc_info=None if expected else failure)

    async def _turn(self, connection: Connection) -> None:
        """Renew the lease, and do what the shards' rows ask for."""
        await self._renew(connection)
        rows = {row.shard: row for row in await shard_rows(connection)}
        self._keeper.settle({shard: row.watermark for shard, row in rows.items()})
        asked = [row for row in rows.values() if row.state == "closing"]
        unanswered = [row for row in asked if self._answered.get(row.shard) != row.fence]
        if unanswered:
            await self._answer(connection, unanswered)
        late = self._keeper.left({shard: row.watermark.epoch for shard, row in rows.items()})
        offered = await self._offer_late(connection, late) if late else 0
        self._stuck = self._stuck + 1 if asked and not unanswered else 0
        if offered or self._stuck >= _STUCK_TURNS or any(row.late for row in rows.values()):
            self._ask_for_recovery()

    async def _renew(self, connection: Connection) -> None:
        await connection.execute(_RENEW, {"gateway_id": self._gateway_id, "lease_s": LEASE_S})

    async def _answer(self, connection: Connection, rows: Sequence[ShardRow]) -> None:
        """Stop acknowledging in these epochs; offer what is kept of them, and say how far we came."""
        for row in rows:
            self._keeper.close(row.shard, row.watermark.epoch, row.fence)
        async with connection.transaction():
            closings = await self._still_closing(connection, rows)
            places = [(row.shard, row.watermark.epoch) for row in closings]
            await self._offer(connection, places)
            values = {
                "gateway_id": self._gateway_id,
                "shards": [row.shard for row in closings],
                "fences": [row.fence for row in closings],
                "epochs": [row.watermark.epoch for row in closings],
                "seqs": [self._keeper.acknowledged(*place) for place in places],
            }
            await connection.execute(_ANSWER, values)
        self._answered |= {row.shard: row.fence for row in rows}

    async def _still_closing(self, connection: Connection, rows: Sequence[ShardRow]) -> Sequence[ShardRow]:
        """Hold on to the shards' rows; give those whose closing is still the one that was seen."""
        cursor = await connection.execute(_SHARE, {"shards": [row.shard for row in rows]})
        now = {shard: (epoch, state, fence) async for shard, epoch, state, fence in cursor}
        return [row for row in rows if now[row.shard] == (row.watermark.epoch, "closing", row.fence)]

    async def _offer_late(self, connection: Connection, places: Sequence[Place]) -> int:
        async with connection.transaction():
            await connection.execute(_SHARE, {"shards": sorted({shard for shard, _ in places})})
            offered = await self._offer(connection, places)
        for place in places:
            self._keeper.forget(*place)
        if offered:
            _log.warning("late_entries_offered", entries=offered, epochs=sorted(places))
        return offered

    async def _offer(self, connection: Connection, places: Iterable[Place]) -> int:
        rows = [(*place, *entry) for place in places for entry in self._keeper.kept(*place)]
        if not rows:
            return 0
        columns = ("shards", "epochs", "seqs", "heads", "bodies", "keys")
        values = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
        cursor = await connection.execute(_OFFER, values)
        return cursor.rowcount

    def _ask_for_recovery(self) -> None:
        if self._recovering is None or self._recovering.done():
            self._stuck = 0
            self._recovering = asyncio.create_task(self._recover_quietly())

    async def _recover_quietly(self) -> None:
        try:
            await self._recover()
        except (MeterError, psycopg.Error) as error:
            _log.warning("recovery_waits", reason=str(error))

    async def _end(self) -> None:
        try:
            async with self._database.connection() as connection:
                await connection.execute(_END, {"gateway_id": self._gateway_id})
        except MeterUnavailableError as error:
            # It runs out by itself.
            _log.warning("lease_not_ended", reason=error.message)
