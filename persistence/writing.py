"""Writes a posting into the tables, in a transaction that is the caller's. Decides nothing of what it says.

New rows are copied straight into their tables; changes of existing rows are copied into staging tables
that live as long as the connection, and applied from there as sets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import islice

from persistence.database import Connection
from persistence.errors import HoldMisfitError
from persistence.names import Named, shard_of_key
from persistence.postings import Posting
from persistence.statements import statement

_CREATE_STAGING = statement("create_staging")
_COPY_LEDGER = statement("copy_ledger")
_COPY_OPEN_HOLDS = statement("copy_open_holds")
_COPY_SETTLED_HOLDS = statement("copy_settled_holds")
_COPY_EXTENSIONS = statement("copy_extensions")
_COPY_REPAIRS = b"COPY meter.repairs (namespace, account, entry_id) FROM STDIN"
_COPY_STAGED_ACCOUNTS = b"COPY staged_accounts FROM STDIN"
_COPY_STAGED_HOLDS = b"COPY staged_holds FROM STDIN"
_COPY_STAGED_USAGE = b"COPY staged_usage FROM STDIN"
_COPY_STAGED_PERIODS = b"COPY staged_periods FROM STDIN"
_COPY_STAGED_PERIOD_DAYS = b"COPY staged_period_days FROM STDIN"
_UPSERT_ACCOUNTS = statement("upsert_accounts")
_ADD_USAGE = statement("add_usage")
_CHANGE_PERIODS = statement("change_periods")
_KEEP_PERIOD_DAYS = statement("keep_period_days")
_SETTLE_HOLDS = statement("settle_holds")
_SETTLE_EXPIRED_HOLDS = statement("settle_expired_holds")
_EXTEND_HOLDS = statement("extend_holds")
_FIND_MISFIT = statement("find_misfit")
_KEEP_NAMES = statement("keep_names")

# The event loop is shared with requests: it gets a turn after this many lines, about every millisecond.
LINES_PER_TURN = 500


async def prepare(connection: Connection) -> None:
    """Make the connection's staging tables, outside any transaction. Safe to repeat."""
    await connection.execute(_CREATE_STAGING)


async def write(connection: Connection, posting: Posting) -> None:
    """Write everything a posting says. Staging tables must be empty; ``clear`` empties them.

    Raises HoldMisfitError when it settles or extends a hold that the ledger has never seen open, and
    psycopg's UniqueViolation when a line or a hold exists already.
    """
    await copy_lines(connection, _COPY_LEDGER, posting.ledger_lines())
    await copy_lines(connection, _COPY_REPAIRS, posting.repair_lines())
    await copy_lines(connection, _COPY_OPEN_HOLDS, posting.open_hold_lines())
    await copy_lines(connection, _COPY_SETTLED_HOLDS, posting.settled_hold_lines())
    await _change_holds(connection, posting)
    await copy_lines(connection, _COPY_EXTENSIONS, posting.extension_lines())
    if await copy_lines(connection, _COPY_STAGED_ACCOUNTS, posting.account_lines()):
        await apply(connection, _UPSERT_ACCOUNTS)
    if await copy_lines(connection, _COPY_STAGED_USAGE, posting.usage_lines()):
        await apply(connection, _ADD_USAGE)
    if await copy_lines(connection, _COPY_STAGED_PERIODS, posting.periods.change_lines()):
        await apply(connection, _CHANGE_PERIODS)
    if await copy_lines(connection, _COPY_STAGED_PERIOD_DAYS, posting.periods.day_lines()):
        await apply(connection, _KEEP_PERIOD_DAYS)


async def keep_names(connection: Connection, names: Mapping[Named, str]) -> None:
    """Keep what the keys of long names stand for, by the namespace's key and their own."""
    if names:
        namespaces, keys = zip(*names, strict=True)
        values = {"namespaces": list(namespaces), "keys": list(keys), "names": list(names.values())}
        await connection.execute(_KEEP_NAMES, values)


async def clear(connection: Connection) -> None:
    """Empty the staging tables, for another posting in the same transaction."""
    await connection.execute(
        "TRUNCATE staged_accounts, staged_holds, staged_usage, staged_answers, staged_periods, "
        "staged_period_days"
    )


async def copy_lines(connection: Connection, command: bytes, lines: Iterator[str]) -> int:
    """Run a COPY with these lines, unless there are none; give their number."""
    turn = list(islice(lines, LINES_PER_TURN))
    if not turn:
        return 0
    async with connection.cursor() as cursor:
        async with cursor.copy(command) as copy:
            # Lines are made while the server takes in those before them.
            while turn:
                await copy.write("".join(turn))
                await asyncio.sleep(0)
                turn = list(islice(lines, LINES_PER_TURN))
        return cursor.rowcount


async def apply(connection: Connection, command: bytes) -> int:
    """Run a statement on the staging tables; give its row count."""
    # Planned afresh each time: a plan made for empty tables would scan them when they are full.
    cursor = await connection.execute(command, prepare=False)
    return cursor.rowcount


async def _change_holds(connection: Connection, posting: Posting) -> None:
    wanted = await copy_lines(connection, _COPY_STAGED_HOLDS, posting.hold_change_lines())
    if not wanted:
        return
    settled = await apply(connection, _SETTLE_HOLDS)
    if settled < wanted:
        extended = await apply(connection, _EXTEND_HOLDS)
        if settled + extended < wanted:
            settled = await apply(connection, _SETTLE_EXPIRED_HOLDS)
        if settled + extended < wanted:
            raise await _misfit(connection)


async def _misfit(connection: Connection) -> HoldMisfitError:
    cursor = await connection.execute(_FIND_MISFIT)
    ((namespace, hold_id, told, known),) = await cursor.fetchall()
    known = known or "nothing"
    reason = f"the journal tells hold {hold_id} as {told}; the ledger knows it as {known}, or otherwise"
    return HoldMisfitError(shard_of_key(namespace), reason, namespace, hold_id)
