"""Keeps the first answer of each idempotency key, and notes who came again after Redis had forgotten it.

It all happens in the posting transaction, which is the caller's. A call whose key stands with the same
fingerprint at another place of the journal is a duplicate: noted here, undone elsewhere.
"""

from __future__ import annotations

import structlog
from psycopg.errors import UniqueViolation

from gateway.domain.entries import Position, entry_id
from persistence.copytext import time_field
from persistence.database import Connection
from persistence.inserting import copy_lines, insert_lines
from persistence.postings import Posting
from persistence.statements import statement
from persistence.writing import apply

_COPY_ANSWERS = b"COPY meter.first_answers (namespace, key, fingerprint, epoch, seq, answer) FROM STDIN"
_COPY_STAGED_ANSWERS = b"COPY staged_answers FROM STDIN"
_STAGE_ANSWERS = statement("stage_answers")
_KEEP_ANSWERS = statement("keep_answers")
_NOTE_DUPLICATES = statement("note_duplicates")
_KEEP_KNOWN = statement("keep_known_answers")
_MARK_UNDONE = statement("mark_undone")
_log = structlog.get_logger("quotagate.repeats")


async def keep_answers(connection: Connection, posting: Posting) -> None:
    """Keep the answers of a posting's calls with keys, note the duplicates among them, mark those undone.

    The posting's staging tables must be empty. Answers that are kept already change nothing.
    """
    if posting.keyed:
        try:
            # Nearly always every key is new, and then this is half the work.
            async with connection.transaction():
                await _add_answers(connection, posting)
        except UniqueViolation:
            await _keep_new_answers(connection, posting)
    if posting.known:
        await _keep_known(connection, posting)
    if posting.undoing:
        await _mark_undone(connection, posting)


async def _add_answers(connection: Connection, posting: Posting) -> None:
    """Keep the answers of keys that are all new."""
    await insert_lines(connection, _COPY_ANSWERS, posting.answer_lines())


async def _keep_new_answers(connection: Connection, posting: Posting) -> None:
    """Keep the answers of keys that are new, and note those whose key was taken."""
    await connection.execute(_STAGE_ANSWERS)
    await copy_lines(connection, _COPY_STAGED_ANSWERS, posting.answer_lines())
    await apply(connection, _KEEP_ANSWERS)
    cursor = await connection.execute(_NOTE_DUPLICATES, prepare=False)
    for namespace, epoch, seq, first_epoch, first_seq, state in await cursor.fetchall():
        told = {
            "namespace": namespace,
            "entry_id": entry_id(Position(epoch, seq)),
            "first_entry_id": entry_id(Position(first_epoch, first_seq)),
        }
        if state == "pending":
            _log.warning("duplicate_found", **told)
        else:
            _log.warning("key_reused", **told)


async def _keep_known(connection: Connection, posting: Posting) -> None:
    """Keep answers of calls of which nothing is booked: none is a duplicate, there is nothing to undo."""
    told = posting.known
    await connection.execute(
        _KEEP_KNOWN,
        {
            "namespaces": [entry.namespace for entry, _ in told],
            "keys": [keyed.key for _, keyed in told],
            "fingerprints": [keyed.fingerprint for _, keyed in told],
            "epochs": [entry.position.epoch for entry, _ in told],
            "seqs": [entry.position.seq for entry, _ in told],
            "answers": [keyed.answer for _, keyed in told],
        },
    )


async def _mark_undone(connection: Connection, posting: Posting) -> None:
    entries = posting.undoing
    await connection.execute(
        _MARK_UNDONE,
        {
            "namespaces": [entry.namespace for entry, _ in entries],
            "epochs": [undone.epoch for _, undone in entries],
            "seqs": [undone.seq for _, undone in entries],
            "undone_epochs": [entry.position.epoch for entry, _ in entries],
            "undone_seqs": [entry.position.seq for entry, _ in entries],
            "undone_at": [time_field(entry.at_ms) for entry, _ in entries],
        },
    )
