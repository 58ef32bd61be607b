"""Locks that one process at a time may hold, over all that share the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from persistence.database import Database


@asynccontextmanager
async def exclusive(database: Database, name: str) -> AsyncIterator[None]:
    """Hold the lock of this name until the end of the block; a process that dies lets go of it.

    Raises MeterUnavailableError when the database does not answer, or another holds it for too long.
    """
    async with database.connection(patient=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"meter.{name}",))
        try:
            yield
        finally:
            await connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (f"meter.{name}",))
