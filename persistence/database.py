"""Connections to Postgres: one pool, its limits, its errors in the words of callers. Knows no table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from gateway.errors import MeterUnavailableError

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Heard = Callable[[float], Awaitable[None]]

# Class 54 (a statement too complex, too many columns) is the statement's fault: waiting does not help.
_HOPELESS = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)
_TRANSIENT = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn "the database did not answer, or not now" into MeterUnavailableError; other errors pass."""
    try:
        yield
    except _HOPELESS:
        raise
    except _TRANSIENT as error:
        reason = str(error).strip() or type(error).__name__
        raise MeterUnavailableError(f"the ledger's database is not available: {reason}") from error


class Database:
    """A pool of connections, shared by everything in this room that reads or writes."""

    def __init__(
        self,
        conninfo: str,
        *,
        application_name: str = "quotagate",
        min_size: int = 1,
        max_size: int = 8,
        statement_timeout_ms: int = 30_000,
        acquire_timeout_s: float = 5.0,
    ) -> None:
        self._statement_timeout_ms = statement_timeout_ms
        self._conninfo = conninfo
        self._options: dict[str, Any] = {
            "autocommit": True,
            "application_name": application_name,
            "connect_timeout": 5,
            # Whatever the environment says: a name it could not carry would stop its shard.
            "client_encoding": "utf8",
        }
        self._pool = AsyncConnectionPool(
            conninfo,
            min_size=min_size,
            max_size=max_size,
            timeout=acquire_timeout_s,
            open=False,
            kwargs=self._options,
            configure=self._configure,
            # One round trip more per use, and a restarted server costs nobody an error.
            check=AsyncConnectionPool.check_connection,
        )

    async def open(self) -> None:
        """Start filling the pool. Does not wait for the database: it may be away for now."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection in which every statement is its own transaction.

        Raises MeterUnavailableError when the database does not answer.
        """
        with unavailable():
            async with self._pool.connection() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside one transaction: committed at the end, rolled back on any error."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[tuple[Connection, Heard]]:
        """Lend a connection of its own that listens; with it, what waits for a notice, up to some seconds.

        Raises MeterUnavailableError when the database does not answer.
        """
        with unavailable():
            opening = psycopg.AsyncConnection.connect(self._conninfo, **self._options)
            async with await opening as connection:
                await self._configure(connection)
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

                async def heard(timeout_s: float) -> None:
                    async for _ in connection.notifies(timeout=timeout_s, stop_after=1):
                        pass  # it ends by itself, and lets go of the connection then

                yield connection, heard

    async def _configure(self, connection: Connection) -> None:
        await connection.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('timezone', 'UTC', false)",
            (str(self._statement_timeout_ms),),
        )
