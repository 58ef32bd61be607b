"""Writes a posting into the tables, inside a transaction that is the caller's. What it says is decided elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway.domain.names import shard_of
from persistence.database import Connection
from persistence.errors import JournalForkError
from persistence.postings import SETTLED_STATUS, Posting
from persistence.statements import statement

_COPY_LEDGER = statement("copy_ledger")
_COPY_OPEN_HOLDS = statement("copy_open_holds")
_COPY_SETTLED_HOLDS = statement("copy_settled_holds")
_UPSERT_ACCOUNTS = statement("upsert_accounts")
_ADD_USAGE = statement("add_usage")
_SETTLE_HOLDS = statement("settle_holds")
_SETTLE_EXPIRED_HOLDS = statement("settle_expired_holds")
_EXTEND_HOLDS = statement("extend_holds")
_FIND_HOLDS = statement("find_holds")

# The event loop is shared with requests: it gets a turn after this many rows, about every millisecond.
ROWS_PER_TURN = 500


async def write(connection: Connection, posting: Posting) -> None:
    """Write everything a posting says.

    Raises JournalForkError when it settles or extends a hold that the ledger has never seen open, and
    psycopg's UniqueViolation when a line or a hold exists already.
    """
    await _copy(connection, _COPY_LEDGER, posting.ledger_rows())
    await _copy(connection, _COPY_OPEN_HOLDS, posting.open_holds())
    await _copy(connection, _COPY_SETTLED_HOLDS, posting.settled_holds())
    await _settle(connection, posting)
    await _extend(connection, posting)
    await _apply(connection, _UPSERT_ACCOUNTS, list(posting.accounts()))
    await _apply(connection, _ADD_USAGE, list(posting.usage()))


async def _copy(connection: Connection, command: bytes, rows: Iterable[Sequence[Any]]) -> None:
    waiting = list(rows)
    if not waiting:
        return
    async with connection.cursor() as cursor, cursor.copy(command) as copy:
        for place, row in enumerate(waiting, start=1):
            await copy.write_row(row)
            if place % ROWS_PER_TURN == 0:
                await asyncio.sleep(0)


async def _apply(connection: Connection, command: bytes, records: Sequence[msgspec.Struct]) -> int:
    if not records:
        return 0
    cursor = await connection.execute(command, {"rows": msgspec.json.encode(records).decode()})
    return cursor.rowcount


async def _settle(connection: Connection, posting: Posting) -> None:
    settlements = list(posting.settlements())
    found = await _apply(connection, _SETTLE_HOLDS, settlements)
    if found < len(settlements):
        found = await _apply(connection, _SETTLE_EXPIRED_HOLDS, settlements)
    if found < len(settlements):
        raise await _unknown_hold(connection, posting)


async def _extend(connection: Connection, posting: Posting) -> None:
    extensions = list(posting.extensions())
    if await _apply(connection, _EXTEND_HOLDS, extensions) < len(extensions):
        raise await _unknown_hold(connection, posting)


async def _unknown_hold(connection: Connection, posting: Posting) -> JournalForkError:
    """Name the first change that does not fit the hold the ledger knows, after it was tried in vain."""
    changes = {key: last for key, last in posting.changed.items() if key not in posting.made}
    cursor = await connection.execute(
        _FIND_HOLDS,
        {"namespaces": [key[0] for key in changes], "hold_ids": [key[1] for key in changes]},
    )
    known = {(namespace, hold_id): status async for namespace, hold_id, status in cursor}
    for key, last in changes.items():
        if known.get(key) != SETTLED_STATUS.get(last.verb, "active"):
            epoch, seq = last.position
            return JournalForkError(
                shard_of(key[0]),
                f"entry {epoch}-{seq} is to {last.verb} hold {key[1]}, which the ledger knows as "
                f"{known.get(key, 'nothing')}",
            )
    key = next(iter(changes))
    return JournalForkError(shard_of(key[0]), f"hold {key[1]} and its change differ in their legs")
