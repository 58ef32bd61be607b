"""How this room reads: one statement, one snapshot, and full names for what was found. No SQL is here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

from persistence.database import Connections
from persistence.names import FullNames, Named, keys_in
from persistence.statements import statement

_LONG_NAMES = statement("long_names")

# Rows that are turned into Python before others get their turn: about a millisecond's worth.
_ROWS_PER_TURN = 100

Row = tuple[Any, ...]
T = TypeVar("T")


class Reader:
    """A reader of the tables. All methods raise MeterUnavailableError when the database does not answer."""

    def __init__(self, database: Connections) -> None:
        self._database = database

    async def _full_names(self, namespaces: Iterable[str], accounts: Iterable[Named]) -> FullNames:
        """Read what the keys among the accounts, named as in the tables, stand for."""
        keys = {(namespace, key) for namespace, account in accounts for key in keys_in(account)}
        return FullNames(namespaces, await self._long_names(keys))

    async def _long_names(self, keys: Collection[Named]) -> dict[Named, str]:
        rows = await self._rows(_LONG_NAMES, **columns(keys)) if keys else ()
        return {(namespace, key): name for namespace, key, name in rows}

    async def _rows(self, query: bytes, **values: object) -> list[Row]:
        async with self._database.connection() as connection:
            # Planned afresh each time: a plan kept from when a table was empty would scan it when it is full.
            cursor = await connection.execute(query, values, prepare=False)
            return await cursor.fetchall()

    async def _many_rows(self, query: bytes, **values: object) -> list[Row]:
        """Read rows of which there may be many: others get their turn meanwhile."""
        return await self._many(_as_it_is, query, **values)

    async def _many(self, made: Callable[[Row], T], query: bytes, **values: object) -> list[T]:
        """Make something of each row, of which there may be many: others get their turn meanwhile."""
        rows: list[T] = []
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, values, prepare=False)
            while found := await cursor.fetchmany(_ROWS_PER_TURN):
                rows += map(made, found)
                await asyncio.sleep(0)
        return rows


def _as_it_is(row: Row) -> Row:
    return row


def columns(wanted: Collection[Named]) -> dict[str, list[str]]:
    """Give pairs of names as the two arrays that statements take."""
    return {"namespaces": [named[0] for named in wanted], "names": [named[1] for named in wanted]}
