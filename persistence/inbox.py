"""The inbox as its workers see it: locks, reads, answers and forgets operations. Carries none of them out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import msgspec

from gateway.protocols import NOBODY, Actor
from gateway.seams.operations import DONE, FAILED, REFUSED, Inbox, InboxState, Operation, Outcome, Turn
from persistence.database import Connection, Database, Heard
from persistence.names import namespace_key
from persistence.statements import statement

CHANNEL = "quotagate_operations"

_TAKE = statement("take_inboxes")
_PENDING = statement("pending_operations")
_ANSWER = statement("answer_operations")
_FORGET = statement("forget_operations")
_STATE = statement("inbox_state")

_INBOXES_AT_ONCE = 16
_OPERATIONS_OF_EACH = 250  # what one namespace may do while others wait for the turn to end

_decode_actor = msgspec.json.Decoder(dict[str, str | None]).decode


class LedgerInbox(Inbox):
    """Implements ``seams.operations.Inbox``. All methods raise MeterUnavailableError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def turn(self, left_alone: Collection[int]) -> AsyncIterator[LockedTurn]:
        """Take operations in a transaction that ends with the context; the locks are its inboxes' rows."""
        async with self._database.transaction() as connection:
            taken = {"left_alone": list(left_alone), "limit": _INBOXES_AT_ONCE}
            cursor = await connection.execute(_TAKE, taken)
            shards = [shard for (shard,) in await cursor.fetchall()]
            yield LockedTurn(connection, await _pending(connection, shards) if shards else ())

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Heard]:
        """Listen on a connection of its own."""
        async with self._database.listening(CHANNEL) as (_, heard):
            yield heard

    async def forget(self, days: int, limit: int) -> int:
        """Forget operations that were answered long ago. Waits for nobody."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_FORGET, {"days": days, "limit": limit})
            return cursor.rowcount

    async def state(self) -> InboxState:
        """Count what waits and what was answered."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_STATE)
            ((pending, oldest_s, *answered),) = await cursor.fetchall()
        return InboxState(pending, oldest_s, dict(zip((DONE, REFUSED, FAILED), answered, strict=True)))


class LockedTurn(Turn):
    """Operations whose inboxes are locked by the transaction that is under way on a connection."""

    def __init__(self, connection: Connection, operations: Sequence[Operation]) -> None:
        self.operations = operations
        self._connection = connection

    async def answer(self, outcomes: Sequence[Outcome]) -> None:
        """Write what became of operations; committed with the turn."""
        if outcomes:
            await self._connection.execute(
                _ANSWER,
                {
                    "ids": [outcome.operation_id for outcome in outcomes],
                    "statuses": [outcome.status for outcome in outcomes],
                    "answers": [outcome.answer.decode() for outcome in outcomes],
                    "error_codes": [outcome.error_code for outcome in outcomes],
                },
            )


async def _pending(connection: Connection, shards: Sequence[int]) -> Sequence[Operation]:
    cursor = await connection.execute(_PENDING, {"shards": shards, "limit": _OPERATIONS_OF_EACH})
    return [
        Operation(identifier, _whole(namespace, full), verb, arguments.encode(), _actor(actor), key, age_s)
        for identifier, namespace, full, verb, arguments, actor, key, age_s in await cursor.fetchall()
    ]


def _whole(namespace: str, full: str | None) -> str:
    """Give a namespace in full. Rows are protected by its key, so a name of another key counts nothing."""
    return full if full and namespace_key(full) == namespace else namespace


def _actor(text: str) -> Actor | None:
    """Read who acts; None for what a tenant has written into its row by hand, and nobody can read."""
    try:
        actor = Actor(**_decode_actor(text))
    except (msgspec.MsgspecError, RecursionError, TypeError):
        return None
    return actor if any(actor) else NOBODY
