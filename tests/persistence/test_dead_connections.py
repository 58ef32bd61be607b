"""Connections of the pool that died while nobody used them: whoever asks next is given one that lives."""

from __future__ import annotations

import asyncio

from scribe import Ask

from persistence.database import Database

WIDTH = 4


async def use(database: Database, together: asyncio.Barrier) -> None:
    async with database.connection() as connection, asyncio.timeout(30):
        await together.wait()
        await connection.execute("SELECT 1")


async def test_a_server_that_restarted_is_found_again_by_the_first_who_asks(
    migrated_url: str, ask: Ask
) -> None:
    database = Database(migrated_url, application_name="to be cut off")
    await database.open()
    try:
        together = asyncio.Barrier(WIDTH)
        await asyncio.gather(*(use(database, together) for _ in range(WIDTH)))
        killed = await ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'to be cut off'"
        )
        assert len(killed) >= WIDTH
        async with database.connection() as connection:
            await connection.execute("SELECT 1")
    finally:
        await database.close()
