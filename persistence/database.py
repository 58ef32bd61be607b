"""Connections to Postgres: one pool, its limits, its errors in the words of callers. Knows no table."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg import sql
from psycopg.abc import PQGen
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from gateway.errors import MeterUnavailableError

# A role, a database or the environment may say otherwise. Dates in another form cannot be read, who waits for
# a lock in another isolation fails in the end, and what is no name would be the name NULL out of an array.
# What was committed without waiting for the disk is lost with Postgres's memory when Redis has let go of it.
_SESSION = """
SELECT set_config('statement_timeout', %s, false),
       set_config('timezone', 'UTC', false),
       set_config('datestyle', 'ISO, YMD', false),
       set_config('intervalstyle', 'postgres', false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('array_nulls', 'on', false),
       set_config('standard_conforming_strings', 'on', false),
       set_config('row_security', 'on', false),
       set_config('synchronous_commit', CASE setting WHEN 'off' THEN 'on' ELSE setting END, false)
FROM current_setting('synchronous_commit') AS setting
"""
_CHECK_S = 1.0  # for an empty statement, before a connection is lent
_POSTING_S = 30.0

Answer = TypeVar("Answer")


class Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection on which no wait for the server outlasts a bound, however dead the server is.

    Cancelling a wait is no bound: psycopg then asks the server to cancel the statement, and waits for that.
    Hanging up is one: the wait ends at once, with the error of a lost connection. But where an answer lies
    unread then, this process itself stood still: it is read, and its rest has the same bound once more.

    Attributes:
        bound_s: how long the server may take for one answer.
        overdue: whether it took longer, so that the connection was given up.
        copies: whether new rows may be copied into their tables (see inserting.py).
    """

    bound_s = _POSTING_S
    overdue = False
    copies = True

    async def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:
        """Wait for what the server answers, but no longer than ``bound_s``."""
        self._alarm = asyncio.get_running_loop().call_later(self.bound_s, self._lose_patience)
        try:
            return await super().wait(gen, *args, **kwargs)
        finally:
            self._alarm.cancel()

    def _lose_patience(self) -> None:
        if self._lies_unread():
            self._alarm = asyncio.get_running_loop().call_later(self.bound_s, self._hang_up)
        else:
            self._hang_up()

    def _lies_unread(self) -> bool:
        wire = select.poll()
        with suppress(psycopg.OperationalError):  # closed already
            wire.register(self, select.POLLIN)
        return bool(wire.poll(0))

    def _hang_up(self) -> None:
        self.overdue = True
        # Either may find that the server was quicker.
        with suppress(psycopg.OperationalError, OSError), socket.socket(fileno=os.dup(self.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)


Heard = Callable[[float], Awaitable[None]]


# Class 54 (a statement too complex, too many columns) is the statement's fault: waiting does not help.
_HOPELESS = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)
# Read-only for now; or a transaction that took too long, as of a process that stood still, and is cut off.
_TRANSIENT_STATES = frozenset({"25006", "25P03", "25P04"})


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn "the database did not answer, or not now" into MeterUnavailableError; other errors pass."""
    try:
        yield
    except psycopg.Error as error:
        if not _is_transient(error):
            raise
        reason = str(error).strip() or type(error).__name__
        raise MeterUnavailableError(f"the ledger's database is not available: {reason}") from error


def _is_transient(error: psycopg.Error) -> bool:
    if isinstance(error, _HOPELESS):
        return False
    return isinstance(error, psycopg.OperationalError) or error.sqlstate in _TRANSIENT_STATES


async def settle_session(connection: psycopg.AsyncConnection, statement_timeout_ms: int) -> None:
    """Let a new connection mean what our statements mean, whatever its surroundings say.

    ``statement_timeout_ms`` is how long the server works on a statement before it gives up; 0 is no bound.
    """
    await connection.execute(_SESSION, (str(statement_timeout_ms),))


class Connections(Protocol):
    """What lends connections: a pool, or one connection whose transaction is under way."""

    def connection(self, *, patient: bool = False) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection; with ``patient`` the server has longer for each answer."""
        ...


class Database:
    """A pool of connections, shared by everything in this room that reads or writes.

    Args:
        conninfo: the URL.
        application_name: what the server's own lists call us.
        min_size: connections that are kept.
        max_size: connections at most.
        statement_timeout_ms: how long the server works on a statement before it gives up itself.
        timeout_s: how long getting a connection may take, and then each answer of the server.
        posting_timeout_s: how long each answer may take in a posting, which is more work.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        application_name: str = "quotagate",
        min_size: int = 1,
        max_size: int = 8,
        statement_timeout_ms: int = 30_000,
        timeout_s: float = 5.0,
        posting_timeout_s: float = _POSTING_S,
    ) -> None:
        self._statement_timeout_ms = statement_timeout_ms
        self._timeout_s = timeout_s
        self._posting_timeout_s = posting_timeout_s
        self._conninfo = conninfo
        whole_s = max(2, round(timeout_s))  # libpq counts in seconds, and takes less than 2 for 2
        self._options: dict[str, Any] = {
            "autocommit": True,
            "application_name": application_name,
            "connect_timeout": whole_s,
            # A host that is gone without a word. Ignored on unix sockets.
            "keepalives_idle": whole_s,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            "tcp_user_timeout": round(posting_timeout_s * 1000),
            # Whatever the environment says: a name it could not carry would stop its shard.
            "client_encoding": "utf8",
        }
        self._pool = AsyncConnectionPool(
            conninfo,
            connection_class=Connection,
            min_size=min_size,
            max_size=max_size,
            timeout=timeout_s,
            # A pool that pauses longer and longer would find a server that is back a minute late.
            reconnect_timeout=timeout_s,
            open=False,
            kwargs=self._options,
            configure=self._configure,
        )

    async def open(self) -> None:
        """Start filling the pool. Does not wait for the database: it may be away for now."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self, *, patient: bool = False) -> AsyncIterator[Connection]:
        """Lend a connection in which every statement is its own transaction.

        With ``patient`` the server has longer for each answer, as a posting or a lock needs it.

        Raises MeterUnavailableError when it does not answer, or not in time.
        """
        with unavailable():
            async with self._lent() as connection:
                connection.bound_s = self._posting_timeout_s if patient else self._timeout_s
                try:
                    yield connection
                except psycopg.OperationalError as error:
                    if connection.overdue:
                        detail = f"no answer within {connection.bound_s:g} s"
                        raise psycopg.OperationalError(detail) from error
                    raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside one transaction: committed at the end, rolled back on any error."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        connection = await self._living()
        try:
            async with connection:
                yield connection
        except psycopg.errors.ReadOnlySqlTransaction:
            await connection.close()  # it may have been told so when it was made; the next one may write
            raise
        finally:
            await self._pool.putconn(connection)

    async def _living(self) -> Connection:
        """Take a connection that answers. One that does not goes back, to be replaced, and the next is tried.

        One round trip more per use, and a restarted server costs nobody an error. The pool could check by
        itself, but it rests between two dead connections, for longer each time.
        """
        until = time.monotonic() + self._timeout_s
        dead = ""
        while (left_s := until - time.monotonic()) > 0:
            connection = await self._pool.getconn(left_s)
            try:
                await self._check(connection)
            except psycopg.Error as error:
                dead = f": {error}"
                await self._pool.putconn(connection)
            except BaseException:
                await self._pool.putconn(connection)
                raise
            else:
                return connection
        raise PoolTimeout(f"no connection that lives within {self._timeout_s:g} s{dead}")

    async def _check(self, connection: Connection) -> None:
        connection.bound_s = min(_CHECK_S, self._timeout_s)
        await connection.execute("")

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connections]:
        """Lend one connection again and again: everything read through it is of the same moment."""
        async with self.transaction() as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield _Pinned(connection)

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[tuple[Connection, Heard]]:
        """Lend a connection of its own that listens; with it, what waits for a notice, up to some seconds.

        Raises MeterUnavailableError when the database does not answer.
        """
        with unavailable():
            opening = Connection.connect(self._conninfo, **self._options)
            async with await opening as connection:
                await self._configure(connection)
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

                async def heard(timeout_s: float) -> None:
                    connection.bound_s = timeout_s + self._timeout_s
                    async for _ in connection.notifies(timeout=timeout_s, stop_after=1):
                        pass  # it ends by itself, and lets go of the connection then

                yield connection, heard

    async def _configure(self, connection: Connection) -> None:
        connection.bound_s = self._timeout_s
        await settle_session(connection, self._statement_timeout_ms)


class _Pinned:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def connection(self, *, patient: bool = False) -> AsyncIterator[Connection]:
        del patient  # the transaction under way has its bound already
        yield self._connection
