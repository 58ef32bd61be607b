"""Makes the ledger's monthly partitions before they are needed. What is written into them lives elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

from persistence.database import Database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Partitions:
    """Remembers which months exist, so that a batch in a month known to exist costs nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[date] = set()

    async def ensure(self, spans_ms: Iterable[tuple[int, int]]) -> None:
        """Make the months of these spans of recording times, and the month after each, where they lack."""
        missing = {month for span in spans_ms for month in months_of(*span)} - self._known
        for month in sorted(missing):
            async with self._database.connection() as connection:
                await connection.execute("SELECT meter.create_ledger_partition(%s)", (month,))
            self._known.add(month)


def months_of(first_ms: int, last_ms: int) -> Iterator[date]:
    """Give the first day (UTC) of each month from one time in Unix milliseconds to the month after another."""
    month = _first_of_month(first_ms)
    last = _next(_first_of_month(last_ms))
    while month <= last:
        yield month
        month = _next(month)


def _first_of_month(at_ms: int) -> date:
    return (_EPOCH + timedelta(milliseconds=at_ms)).date().replace(day=1)


def _next(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)
