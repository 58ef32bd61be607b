"""Entries that cannot be booked as they stand: what is booked of them all the same, and the record of them.

No entry is ever dropped, and none stands in the way of those behind it. How a bad one is found among good
ones is the ledger's; the operators' side of the quarantine lives in cases.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Literal, NamedTuple

import structlog
from msgspec.structs import astuple, replace

from gateway.domain.entries import Entry
from persistence.database import Connection
from persistence.errors import EntryRefusedError, JournalForkError
from persistence.names import namespace_key, stored
from persistence.postings import AUDIT, Posting, check_verbs, is_known
from persistence.statements import statement

_QUARANTINE = statement("quarantine_entry")
_FIND_LOST_HOLD = statement("find_lost_hold")
_log = structlog.get_logger("quotagate.quarantine")

_LONGEST = 4000

Booked = Literal["without_body", "without_hold", "state", "nothing"]

_SAYS: dict[Booked, str] = {
    "without_body": "it is booked without its body",
    "without_hold": "its amounts are booked, without the hold",
    "state": "only the new state of its accounts is booked: their chain of entries has a jump here",
    "nothing": "nothing of it is booked: the chain of its accounts has a jump, which reconcile shows",
}


class Case(NamedTuple):
    """An entry that goes to quarantine: what stands in for it in the tables (None: nothing), and why."""

    entry: Entry
    stand_in: Entry | None
    booked: Booked
    reason: str


def fault_of(shard: int, entry: Entry) -> str | None:
    """Say why no rows can be made of an entry; None when they can, whatever the database says to them."""
    try:
        check_verbs(shard, [entry])
        posting = Posting([stored(entry, {})])
        text = "".join(
            chain(
                posting.ledger_lines(),
                *posting.usage_rows(),
                *posting.account_rows(),
                posting.open_hold_lines(),
                posting.settled_hold_lines(),
                posting.hold_change_lines(),
            )
        )
        encoded = text.encode()
    except EntryRefusedError as error:
        return error.reason
    except (ValueError, OverflowError) as error:
        return f"entry {entry.position.epoch}-{entry.position.seq} cannot be written: {error}"
    return "the entry holds a NUL, which no text in the database can" if b"\0" in encoded else None


def case_of(entry: Entry, stand_in: Entry | None, booked: Booked, reason: str) -> Case:
    """Give the case of an entry that is refused for ``reason``; it says what is booked all the same."""
    return Case(entry, stand_in, booked, f"{reason}; {_SAYS[booked]}")


def cases(entry: Entry, reason: str, *, hold_lost: bool) -> Iterator[Case]:
    """Give what could be booked of an entry, the most first; the last always can.

    ``hold_lost`` says that what the ledger does not know of the entry's hold may be in quarantine itself.
    """
    if is_known(entry.verb) and entry.verb != AUDIT:
        bare = replace(entry, body=b"")
        if entry.body:
            yield case_of(entry, bare, "without_body", reason)
        if hold_lost:
            yield case_of(entry, replace(entry, hold_id=""), "without_hold", reason)
            yield case_of(entry, replace(bare, hold_id=""), "without_hold", reason)
    if entry.legs and entry.verb != AUDIT:
        legs = tuple(replace(leg, amount=0, held=0, hold=0) for leg in entry.legs)
        state = replace(entry, verb="extend", hold_id="", body=b"", legs=legs)
        yield case_of(entry, state, "state", reason)
    yield case_of(entry, None, "nothing", reason)


def screened(shard: int, entry: Entry) -> Case | None:
    """Give the case of an entry of which no rows can be made; None when they can."""
    reason = fault_of(shard, entry)
    if reason is None:
        return None
    found = cases(entry, reason, hold_lost=False)
    return next(c for c in found if c.stand_in is None or fault_of(shard, c.stand_in) is None)


async def quarantine(connection: Connection, shard: int, case: Case) -> None:
    """Record a case, in the transaction that passes its entry. Raises JournalForkError."""
    entry = case.entry
    epoch, seq = entry.position
    cursor = await connection.execute(
        _QUARANTINE,
        {
            "shard": shard,
            "epoch": epoch,
            "seq": seq,
            "namespace": namespace_key(plain(entry.namespace)) if entry.namespace else None,
            "hold_id": plain(entry.hold_id) if entry.legs else None,
            "head": _head(entry),
            "body": entry.body,
            "booked": case.booked,
            "reason": plain(case.reason),
        },
    )
    if not await cursor.fetchall():
        raise JournalForkError(shard, f"entry {entry.position} is in quarantine already, with other content")


async def is_hold_lost(connection: Connection, shard: int, epoch: int, namespace: str, hold_id: str) -> bool:
    """Say whether what the ledger does not know of a hold, named as in the tables, may be in quarantine."""
    values = {"shard": shard, "epoch": epoch, "namespace": plain(namespace), "hold_id": plain(hold_id)}
    cursor = await connection.execute(_FIND_LOST_HOLD, values)
    return bool(await cursor.fetchall())


def tell(shard: int, case: Case) -> None:
    """Raise the alarm, once the quarantine has the entry for good."""
    entry = str(case.entry.position)
    _log.error("entry_quarantined", shard=shard, entry=entry, booked=case.booked, reason=case.reason)


def plain(text: str) -> str:
    """Give a text that every database with UTF-8 takes, and that nobody's body makes endless."""
    return text[:_LONGEST].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _head(entry: Entry) -> bytes:
    """Give the part of an entry that is not its body, for people; an unreadable one has it in its body."""
    if not entry.legs:
        return b""
    words = [
        entry.verb,
        entry.at_ms,
        entry.namespace,
        entry.hold_id or "-",
        entry.expires_ms,
        int(entry.late),
    ]
    for leg in entry.legs:
        words += astuple(leg)
    return " ".join(map(str, words)).encode(errors="surrogateescape")
