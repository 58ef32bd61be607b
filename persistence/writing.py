"""Writes a posting into the tables, in a transaction that is the caller's. Decides nothing of what it says.

New rows are copied straight into their tables. What changes existing rows travels in the parameters of its
statement; of holds, where there may be more than those should carry, in a staging table that lives as long
as the connection. One that is rarely needed lives as long as its transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from persistence.arraytext import columns
from persistence.database import Connection
from persistence.errors import HoldMisfitError
from persistence.inserting import LINES_PER_TURN, copy_lines, empty_new_rows, insert_lines, prepare_inserting
from persistence.names import Named, shard_of_key
from persistence.period_postings import PeriodPosting
from persistence.postings import ACCOUNT_COLUMNS, USAGE_COLUMNS, Posting
from persistence.statements import statement

_CREATE_STAGING = statement("create_staging")
_COPY_LEDGER = statement("copy_ledger")
_COPY_OPEN_HOLDS = statement("copy_open_holds")
_COPY_SETTLED_HOLDS = statement("copy_settled_holds")
_COPY_EXTENSIONS = statement("copy_extensions")
_COPY_REPAIRS = b"COPY meter.repairs (namespace, account, entry_id) FROM STDIN"
_COPY_STAGED_HOLDS = b"COPY staged_holds FROM STDIN"
_COPY_STAGED_PERIODS = b"COPY staged_periods FROM STDIN"
_COPY_STAGED_PERIOD_DAYS = b"COPY staged_period_days FROM STDIN"
_STAGE_PERIODS = statement("stage_periods")
_STAGE_PERIOD_DAYS = statement("stage_period_days")
_CLEAR = statement("clear_staging")
_UPSERT_ACCOUNTS = statement("upsert_accounts")
_ADD_USAGE = statement("add_usage")
_CHANGE_PERIODS = statement("change_periods")
_KEEP_PERIOD_DAYS = statement("keep_period_days")
_SETTLE_HOLDS = statement("settle_holds")
_SETTLE_EXPIRED_HOLDS = statement("settle_expired_holds")
_EXTEND_HOLDS = statement("extend_holds")
_FIND_MISFIT = statement("find_misfit")
_KEEP_NAMES = statement("keep_names")

# What a transaction that posts begins with. A batch is small and the tables are large: rows are looked up and
# never scanned, hashed or sorted, whatever the planner believes; nor by a plan from when a table was empty.
LOOK_UP = (
    b"SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_bitmapscan = off;"
    b" SET LOCAL plan_cache_mode = force_custom_plan"
)


async def prepare(connection: Connection) -> None:
    """Make the connection's staging tables, outside any transaction. Safe to repeat."""
    await connection.execute(_CREATE_STAGING)
    await prepare_inserting(connection)


async def write(connection: Connection, posting: Posting) -> None:
    """Write everything a posting says. Staging tables must be empty; ``clear`` empties them.

    Raises HoldMisfitError when it settles or extends a hold that the ledger has never seen open, and
    psycopg's UniqueViolation when a line or a hold exists already.
    """
    await insert_lines(connection, _COPY_LEDGER, posting.ledger_lines())
    await insert_lines(connection, _COPY_REPAIRS, posting.repair_lines())
    await insert_lines(connection, _COPY_OPEN_HOLDS, posting.open_hold_lines())
    await insert_lines(connection, _COPY_SETTLED_HOLDS, posting.settled_hold_lines())
    await _change_holds(connection, posting)
    await insert_lines(connection, _COPY_EXTENSIONS, posting.extension_lines())
    await apply_rows(connection, _UPSERT_ACCOUNTS, ACCOUNT_COLUMNS, posting.account_rows())
    await apply_rows(connection, _ADD_USAGE, USAGE_COLUMNS, posting.usage_rows())
    if posting.periods:
        await _change_periods(connection, posting.periods)


async def keep_names(connection: Connection, names: Mapping[Named, str]) -> None:
    """Keep what the keys of long names stand for, by the namespace's key and their own."""
    if names:
        namespaces, keys = zip(*names, strict=True)
        values = {"namespaces": list(namespaces), "keys": list(keys), "names": list(names.values())}
        await connection.execute(_KEEP_NAMES, values)


async def clear(connection: Connection) -> None:
    """Empty the staging tables, for another posting in the same transaction."""
    await connection.execute(_CLEAR)
    await empty_new_rows(connection)


async def apply(connection: Connection, command: bytes) -> int:
    """Run a statement on the staging tables; give its row count."""
    # Planned afresh each time: a plan made for empty tables would scan them when they are full.
    cursor = await connection.execute(command, prepare=False)
    return cursor.rowcount


async def apply_rows(
    connection: Connection, command: bytes, names: Sequence[str], rows: Iterator[Sequence[str]]
) -> None:
    """Run a statement that unnests rows, a turn of them at a time; ``names`` are its columns' parameters."""
    while turn := list(islice(rows, LINES_PER_TURN)):
        await connection.execute(command, columns(names, turn))


async def _change_periods(connection: Connection, periods: PeriodPosting) -> None:
    await connection.execute(_STAGE_PERIODS)
    await copy_lines(connection, _COPY_STAGED_PERIODS, periods.change_lines())
    await apply(connection, _CHANGE_PERIODS)
    await connection.execute(_STAGE_PERIOD_DAYS)
    if await copy_lines(connection, _COPY_STAGED_PERIOD_DAYS, periods.day_lines()):
        await apply(connection, _KEEP_PERIOD_DAYS)


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
