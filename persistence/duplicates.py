"""The slow way of posting, taken when a row is found to exist: tells what is posted already from a fork.

The usual way never comes here, for the watermark moves with the data.
"""

from __future__ import annotations

from gateway.domain.entries import entry_position
from gateway.domain.holds import SETTLING
from persistence.copytext import time_field
from persistence.database import Connection
from persistence.errors import JournalForkError
from persistence.inserting import copy_lines
from persistence.names import shard_of_key
from persistence.postings import Posting
from persistence.statements import statement

_CREATE_TOLD = statement("create_told")
_COMPARE_LEDGER = statement("compare_ledger")
_COMPARE_HOLDS = statement("compare_holds")
_COMPARE_EXTENSIONS = statement("compare_extensions")
_FORGET_HOLDS = statement("forget_holds")
_FORGET_SETTLEMENTS = statement("forget_settlements")


async def drop_posted(connection: Connection, posting: Posting) -> None:
    """Take out of a posting the lines that are booked already, and let its holds be written once more.

    Raises JournalForkError when the ledger tells one of them otherwise.
    """
    await _drop_lines(connection, posting)
    await _drop_extensions(connection, posting)
    await _forget_holds(connection, posting)
    await _forget_settlements(connection, posting)


async def _drop_lines(connection: Connection, posting: Posting) -> None:
    await connection.execute(_CREATE_TOLD)
    await copy_lines(connection, b"COPY told_ledger FROM STDIN", posting.ledger_lines())
    cursor = await connection.execute(_COMPARE_LEDGER)
    for namespace, identifier, same in await cursor.fetchall():
        if not same:
            reason = f"entry {entry_position(identifier)} is booked already, with other content"
            raise JournalForkError(shard_of_key(namespace), reason)
        del posting.booked[namespace, identifier]
    await connection.execute("DROP TABLE told_ledger")


async def _drop_extensions(connection: Connection, posting: Posting) -> None:
    told = [(key, entry, entry.legs[index]) for key, (entry, index) in posting.extended.items()]
    values = {
        "namespaces": [namespace for (namespace, _), _, _ in told],
        "entry_ids": [identifier for (_, identifier), _, _ in told],
        "hold_ids": [entry.hold_id for _, entry, _ in told],
        "times": [time_field(entry.at_ms) for _, entry, _ in told],
        "added": [leg.held for _, _, leg in told],
    }
    cursor = await connection.execute(_COMPARE_EXTENSIONS, values)
    for namespace, identifier, same in await cursor.fetchall():
        if not same:
            reason = f"extension {entry_position(identifier)} is known already, with other content"
            raise JournalForkError(shard_of_key(namespace), reason)
        del posting.extended[namespace, identifier]


async def _forget_holds(connection: Connection, posting: Posting) -> None:
    told = {
        "namespaces": [namespace for namespace, _ in posting.made],
        "hold_ids": [hold_id for _, hold_id in posting.made],
        "accounts": [made.legs[0].account for made in posting.made.values()],
        "created": [time_field(made.at_ms) for made in posting.made.values()],
    }
    cursor = await connection.execute(_COMPARE_HOLDS, told)
    known = await cursor.fetchall()
    for namespace, hold_id, same in known:
        if not same:
            raise JournalForkError(shard_of_key(namespace), f"hold {hold_id} exists already, made otherwise")
    await connection.execute(
        _FORGET_HOLDS,
        {
            "namespaces": [namespace for namespace, _, _ in known],
            "hold_ids": [hold_id for _, hold_id, _ in known],
        },
    )


async def _forget_settlements(connection: Connection, posting: Posting) -> None:
    settling = {key: last for key, last in posting.changed.items() if last.verb in SETTLING}
    await connection.execute(
        _FORGET_SETTLEMENTS,
        {
            "namespaces": [namespace for namespace, _ in settling],
            "hold_ids": [hold_id for _, hold_id in settling],
            "statuses": [SETTLING[last.verb] for last in settling.values()],
            "settled": [time_field(last.at_ms) for last in settling.values()],
        },
    )
