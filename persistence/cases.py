"""The operators' side of the quarantine: what is in it, and saying that something was done about an entry.

What goes in, and when, is decided in quarantine.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

from psycopg.rows import class_row

from persistence.database import Database
from persistence.statements import statement

_PAGE = statement("quarantine_page")
_ONE = statement("quarantine_one")
_RESOLVE = statement("resolve_quarantined")
_PLACE = re.compile(r"([0-9]{1,3})/([0-9]{1,4})-([0-9]{1,11})", re.ASCII)


class Place(NamedTuple):
    """Where in which shard's journal an entry stands. Written ``<shard>/<epoch>-<sequence>``."""

    shard: int
    epoch: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a place; None when it is none."""
        found = _PLACE.fullmatch(text)
        return cls(*map(int, found.groups())) if found else None

    def __str__(self) -> str:
        return f"{self.shard}/{self.epoch}-{self.seq}"


class Quarantined(NamedTuple):
    """One entry in quarantine. Namespace and hold are None where nobody could read them."""

    shard: int
    epoch: int
    seq: int
    namespace: str | None
    hold_id: str | None
    head: bytes
    body: bytes
    booked: str
    reason: str
    recorded_at: datetime
    resolved_at: datetime | None
    resolution: str | None

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.shard, self.epoch, self.seq)


class Quarantine:
    """Everything in quarantine. All methods raise MeterUnavailableError when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, *, resolved: bool, limit: int) -> Sequence[Quarantined]:
        """Give the newest entries, with ``resolved`` also those that something was done about."""
        return await self._rows(_PAGE, resolved=resolved, limit=limit)

    async def find(self, place: Place) -> Quarantined | None:
        """Give the entry of a place; None when it is not in quarantine."""
        rows = await self._rows(_ONE, **place._asdict())
        return rows[0] if rows else None

    async def resolve(self, place: Place, resolution: str) -> bool:
        """Keep what was done about an entry; False when there is none that waits for it."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_RESOLVE, {**place._asdict(), "resolution": resolution})
            return cursor.rowcount == 1

    async def _rows(self, command: bytes, **values: object) -> Sequence[Quarantined]:
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=class_row(Quarantined)) as cursor,
        ):
            await cursor.execute(command, values)
            return await cursor.fetchall()
