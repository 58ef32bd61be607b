"""Makes the ledger's monthly partitions before they are needed. What is written into them lives elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from persistence.database import Database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000


class Partitions:
    """Remembers which months exist, so that entries of a month known to exist cost nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[date] = set()

    async def ensure(self, times_ms: Iterable[int]) -> None:
        """Make the months (UTC) of these times of recording, and the month after each, where they lack."""
        for month in sorted(months_of(times_ms) - self._known):
            async with self._database.connection() as connection:
                await connection.execute("SELECT meter.create_partition(%s, %s)", (month.year, month.month))
            self._known.add(month)

    def forget(self) -> None:
        """Forget which months exist: somebody may have dropped one, or restored an older database."""
        self._known.clear()


def months_of(times_ms: Iterable[int]) -> set[date]:
    """Give the first day of each month in which one of the times lies, and of the month after each."""
    days = {at_ms // _DAY_MS for at_ms in set(times_ms)}
    months = {(_EPOCH + timedelta(days=day)).date().replace(day=1) for day in days}
    return months | {(month + timedelta(days=31)).replace(day=1) for month in months}
