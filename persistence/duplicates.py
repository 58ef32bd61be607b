"""The slow way of posting, taken when a row is found to exist: tells what is posted already from a fork.

The usual way never comes here, for the watermark moves with the data.
"""

from __future__ import annotations

import msgspec

from gateway.domain.entries import entry_position
from gateway.domain.names import shard_of
from persistence.database import Connection
from persistence.errors import JournalForkError
from persistence.postings import Posting
from persistence.statements import statement

_COMPARE_LEDGER = statement("compare_ledger")
_COMPARE_HOLDS = statement("compare_holds")
_FORGET_HOLDS = statement("forget_holds")


async def drop_posted(connection: Connection, posting: Posting) -> None:
    """Take out of a posting the lines the ledger holds already, and make way for its holds to be written again.

    Raises JournalForkError when the ledger tells one of them otherwise.
    """
    await _drop_lines(connection, posting)
    await _forget_holds(connection, posting)


async def _drop_lines(connection: Connection, posting: Posting) -> None:
    told = msgspec.json.encode([row._asdict() for row in posting.ledger_rows()]).decode()
    cursor = await connection.execute(_COMPARE_LEDGER, {"rows": told})
    for namespace, identifier, same in await cursor.fetchall():
        if not same:
            epoch, seq = entry_position(identifier)
            raise JournalForkError(
                shard_of(namespace), f"entry {epoch}-{seq} is booked already, with other content"
            )
        del posting.booked[namespace, identifier]


async def _forget_holds(connection: Connection, posting: Posting) -> None:
    rows = [*posting.open_holds(), *posting.settled_holds()]
    told = msgspec.json.encode([row._asdict() for row in rows]).decode()
    cursor = await connection.execute(_COMPARE_HOLDS, {"rows": told})
    known = set()
    for namespace, hold_id, same in await cursor.fetchall():
        if not same:
            raise JournalForkError(
                shard_of(namespace), f"hold {hold_id} is known already, and was made otherwise"
            )
        known.add((namespace, hold_id))
    namespaces, hold_ids = [key[0] for key in known], [key[1] for key in known]
    await connection.execute(_FORGET_HOLDS, {"namespaces": namespaces, "hold_ids": hold_ids})
