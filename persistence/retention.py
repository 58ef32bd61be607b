"""Makes the ledger's coming months ahead of time and drops the old ones with the holds settled in them.

It works for as long as a flusher runs. What a month held is folded into checkpoints by the functions in the
database; nothing is summed here. Any number may run at once: what one of them has done, the others find done.
"""

from __future__ import annotations

import asyncio

import psycopg
import structlog

from gateway.errors import MeterUnavailableError
from persistence.database import Database

_log = structlog.get_logger("quotagate.retention")

_MONTHS_AHEAD = 3
_EVERY_S = 3600.0
_HOLDS_AT_ONCE = 5000
_FOLD_S = 6 * 3600.0  # a month of billions of lines is folded in one statement


class Retention:
    """Keeps the ledger's months.

    Args:
        database: the ledger's.
        keep_months: how many whole months before this one are kept; None keeps all.
        every_s: the pause between two looks.
    """

    def __init__(self, database: Database, *, keep_months: int | None, every_s: float = _EVERY_S) -> None:
        self._database = database
        self._keep_months = keep_months
        self._every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set. What is under way then is broken off: it leaves nothing behind."""
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._look_until(stopped)
                await asyncio.wait([stopped], timeout=self._every_s)
        finally:
            stopped.cancel()

    async def keep(self) -> None:
        """Make and drop what is due. Raises MeterUnavailableError."""
        async with self._database.connection() as connection:
            await connection.execute("SELECT meter.ensure_partitions(%s)", (_MONTHS_AHEAD,))
        while self._keep_months is not None and (dropped := await self._drop_one(self._keep_months)):
            _log.info("month_dropped", partition=dropped)
        if self._keep_months is not None:
            await self._drop_holds(self._keep_months)

    async def _look_until(self, stopped: asyncio.Task[bool]) -> None:
        look = asyncio.create_task(self._look())
        try:
            await asyncio.wait([stopped, look], return_when=asyncio.FIRST_COMPLETED)
        finally:
            look.cancel()
            await asyncio.wait([look])
        if not look.cancelled():
            look.result()

    async def _look(self) -> None:
        try:
            await self.keep()
        except (MeterUnavailableError, psycopg.Error) as error:
            _log.warning("retention_waits", reason=" ".join(str(error).split()))

    async def _drop_one(self, keep_months: int) -> str | None:
        """Drop the oldest month, if it is old enough; give its name."""
        async with self._database.transaction() as connection:
            connection.bound_s = _FOLD_S
            await connection.execute("SET LOCAL statement_timeout = 0")
            cursor = await connection.execute("SELECT meter.drop_old_partitions(%s, 1)", (keep_months,))
            row = await cursor.fetchone()
        return None if row is None else str(row[0])

    async def _drop_holds(self, keep_months: int) -> None:
        """Drop what was settled before the kept months, some at a time: nobody waits for all of it."""
        total, dropped = 0, _HOLDS_AT_ONCE
        while dropped == _HOLDS_AT_ONCE:
            async with self._database.transaction() as connection:
                cursor = await connection.execute(
                    "SELECT meter.drop_old_holds(%s, %s)", (keep_months, _HOLDS_AT_ONCE)
                )
                ((dropped,),) = await cursor.fetchall()
            total += dropped
        if total:
            _log.info("holds_dropped", holds=total)
