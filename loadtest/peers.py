"""What a user would pick instead: the `limits` library, row locks in Postgres. Nothing of ours is used."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files

import limits
import psycopg
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from psycopg_pool import AsyncConnectionPool

from loadtest.dialects import drawn
from loadtest.tasks import Act

_WINDOW = limits.parse("1000000000 per minute")
_POOL = 32
_FUND = "INSERT INTO peer.accounts VALUES (%s, 10^15, 0)"
_SQL = files("loadtest") / "peer_sql"
_SCHEMA, _RESERVE, _COMMIT = (
    _SQL.joinpath(f"{name}.sql").read_text() for name in ("schema", "reserve", "commit")
)


def limits_checks(redis_url: str, names: Sequence[str]) -> Act:
    """Give a plain check: a hit of a moving window that never refuses."""
    url = redis_url.replace("unix://", "async+redis+unix://").replace("redis://", "async+redis://")
    turns = drawn(names)
    limiter = MovingWindowRateLimiter(RedisStorage(url, implementation="redispy"))

    async def act(number: int) -> bool:
        return await limiter.hit(_WINDOW, turns[number % len(turns)])

    return act


@asynccontextmanager
async def postgres_pairs(
    database_url: str, names: Sequence[str], clients: int, *, durable: bool
) -> AsyncIterator[Act]:
    """Give a reserve with its commit: two prepared statements, each a transaction, on a pool.

    Without ``durable`` a commit does not wait for the disk: Redis under ``everysec`` does not either.
    """

    async def configure(connection: psycopg.AsyncConnection) -> None:
        await connection.set_autocommit(True)
        connection.prepare_threshold = 0
        if not durable:
            await connection.execute("SET synchronous_commit = off")

    size = min(clients, _POOL)
    pool = AsyncConnectionPool(
        database_url, min_size=size, max_size=size, max_waiting=0, configure=configure, open=False
    )
    async with pool:
        await pool.wait()
        async with pool.connection() as connection:
            await connection.execute(_SCHEMA, prepare=False)
            async with connection.cursor() as cursor:
                await cursor.executemany(_FUND, [(name,) for name in names])
        yield _pairs_on(pool, drawn(names))


def _pairs_on(pool: AsyncConnectionPool, names: Sequence[str]) -> Act:
    async def act(number: int) -> bool:
        hold_id = uuid.uuid4()
        reserved = {"hold": hold_id, "account": names[number % len(names)], "amount": 2}
        async with pool.connection() as connection:
            row = await (await connection.execute(_RESERVE, reserved)).fetchone()
        if row is None:
            return False
        await asyncio.sleep(0)  # the call that was reserved for stands between the two
        async with pool.connection() as connection:
            row = await (await connection.execute(_COMMIT, {"hold": hold_id, "actual": 1})).fetchone()
        return row is not None

    return act
