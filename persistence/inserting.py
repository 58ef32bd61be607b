"""How new rows get into a table: by COPY, or around it where row-level security holds. Knows no rows.

Postgres refuses a COPY into a table whose row-level security holds for the role, whatever its policies allow.
That is so for an owner who is no superuser, since the tables force it. Such a connection copies into a
temporary table, and inserts from there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import islice

from persistence.database import Connection
from persistence.statements import statement

_CREATE_NEW_ROWS = statement("create_new_rows")
_MAY_COPY = b"SELECT NOT row_security_active('meter.ledger')"

# The event loop is shared with requests: it gets a turn after this many lines, about every millisecond.
LINES_PER_TURN = 500

INSERTS = {
    b"ledger": b"INSERT INTO meter.ledger SELECT * FROM new_ledger",
    b"repairs": b"INSERT INTO meter.repairs SELECT * FROM new_repairs",
    b"open_holds": b"INSERT INTO meter.open_holds SELECT * FROM new_open_holds",
    b"settled_holds": b"INSERT INTO meter.settled_holds SELECT * FROM new_settled_holds",
    b"hold_extensions": b"INSERT INTO meter.hold_extensions SELECT * FROM new_hold_extensions",
    b"first_answers": b"INSERT INTO meter.first_answers SELECT * FROM new_first_answers",
}
_EMPTY = b"TRUNCATE new_" + b", new_".join(INSERTS)
_INTO = re.compile(rb"COPY meter\.(\w+)")


async def prepare_inserting(connection: Connection) -> None:
    """Find out which way rows go on this connection, outside any transaction. Safe to repeat."""
    cursor = await connection.execute(_MAY_COPY)
    connection.copies = await cursor.fetchone() == (True,)
    if not connection.copies:
        await connection.execute(_CREATE_NEW_ROWS)


async def insert_lines(connection: Connection, copy: bytes, lines: Iterator[str]) -> None:
    """Insert these lines into the table that the COPY command names, unless there are none."""
    if connection.copies:
        await copy_lines(connection, copy, lines)
    elif await copy_lines(connection, _INTO.sub(rb"COPY new_\1", copy, count=1), lines):
        (table,) = _INTO.findall(copy)
        await connection.execute(INSERTS[table], prepare=False)


async def empty_new_rows(connection: Connection) -> None:
    """Be ready for more rows in the same transaction."""
    if not connection.copies:
        await connection.execute(_EMPTY)


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
