"""What a posting writes into the simulated tables: in place of the COPY of ``persistence.writing``."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from psycopg.errors import UniqueViolation

from gateway.domain import names
from gateway.domain.entries import Entry, entry_position
from gateway.domain.holds import ACTIVE, EXPIRED, SETTLING, Hold, HoldLeg
from gateway.protocols import FirstAnswer
from persistence.errors import HoldMisfitError, JournalForkError
from persistence.postings import Posting

from .database import Connection
from .tables import ACCOUNTS, DUPLICATES, FIRST, HOLDS, LINES, Named, Repeat, Transaction


class RecordingPosting(Posting):
    """A posting that remembers its entries, so that all that was ever booked can be looked at."""

    def __init__(self, entries: Iterable[Entry] = (), with_row: Container[Named] = ()) -> None:
        self.entries: list[Entry] = []
        super().__init__(entries, with_row)

    def add(self, entries: Iterable[Entry]) -> None:
        taken = list(entries)
        self.entries += taken
        super().add(taken)


async def write(connection: Connection, posting: RecordingPosting) -> None:
    """Write everything a posting says, all of it or nothing."""
    at = connection.at
    for key, booking in posting.booked.items():
        if at.get(LINES, key) is not None:
            raise UniqueViolation(f"line {key} exists")
        at.put(LINES, key, (booking.leg.amount, booking.leg.balance))
    for named, made in posting.made.items():
        if at.get(HOLDS, named) is not None:
            raise UniqueViolation(f"hold {named} exists")
        at.put(HOLDS, named, _changed(_made(made), posting.changed.get(named, made)))
    for named, last in posting.changed.items():
        if named not in posting.made:
            at.put(HOLDS, named, _change(at, last))
    for entry in posting.entries:
        for leg in entry.legs:
            named = entry.namespace, leg.account
            assert named in posting.accounts() or at.get(ACCOUNTS, named), f"nobody made a row for {named}"
            at.put(ACCOUNTS, named, (leg.balance, leg.reserved))
    at.book(posting.entries)


async def drop_posted(connection: Connection, posting: RecordingPosting) -> None:
    """Take out what is booked already. Raises JournalForkError when it is booked otherwise."""
    at = connection.at
    for key, booking in list(posting.booked.items()):
        known = at.get(LINES, key)
        if known is None:
            continue
        if known != (booking.leg.amount, booking.leg.balance):
            place = entry_position(key[1])
            raise JournalForkError(names.shard_of(key[0]), f"entry {place} is booked already, otherwise")
        del posting.booked[key]
    for named, made in posting.made.items():
        hold = at.get(HOLDS, named)
        if hold is not None and hold.created_ms != made.at_ms:
            raise JournalForkError(
                names.shard_of(named[0]), f"hold {named[1]} exists already, made otherwise"
            )
        at.drop(HOLDS, named)
    for named, last in posting.changed.items():
        hold = at.get(HOLDS, named)
        if hold is not None and (hold.status, hold.settled_ms) == (SETTLING.get(last.verb), last.at_ms):
            at.put(HOLDS, named, hold._replace(status=ACTIVE, settled_ms=None))


async def keep_answers(connection: Connection, posting: RecordingPosting) -> None:
    """Keep the first answers of keys, note who came again, and mark what is undone."""
    at = connection.at
    for entry, keyed in posting.keyed:
        named, place = (entry.namespace, keyed.key), (entry.namespace, *entry.position)
        first = at.get(FIRST, named)
        if first is None:
            at.put(FIRST, named, FirstAnswer(keyed.fingerprint, entry.position, keyed.answer))
        elif first.position != entry.position and at.get(DUPLICATES, place) is None:
            state = "pending" if first.fingerprint == keyed.fingerprint else "kept"
            at.put(DUPLICATES, place, Repeat(first.position, keyed.answer, state, None))
    for entry, keyed in posting.known:
        if at.get(FIRST, named := (entry.namespace, keyed.key)) is None:
            at.put(FIRST, named, FirstAnswer(keyed.fingerprint, entry.position, keyed.answer))
    for entry, undone in posting.undoing:
        place = (entry.namespace, *undone)
        row = at.get(DUPLICATES, place)
        if row is not None and row.state == "pending":
            at.put(DUPLICATES, place, row._replace(state="undone", undone=entry.position))


async def keep_names(_connection: Connection, kept: Any) -> None:
    assert not kept, "no name of a simulation is long"


class NoPartitions:
    """Stands in for ``persistence.partitions``."""

    def __init__(self, _database: object) -> None:
        """Have every month."""

    async def ensure(self, _times: Iterable[int]) -> None:
        """Have them already."""

    def forget(self) -> None:
        """Have them still."""


def _made(entry: Entry) -> Hold:
    legs = tuple(HoldLeg(leg.account, leg.hold, None) for leg in entry.legs)
    return Hold(
        *(entry.namespace, entry.hold_id, ACTIVE, legs, entry.at_ms, entry.expires_ms, None),
        late=False,
        body=entry.body,
    )


def _change(at: Transaction, last: Entry) -> Hold:
    """Give a hold as its last entry leaves it. Raises HoldMisfitError for one that was not open."""
    hold = at.get(HOLDS, (last.namespace, last.hold_id))
    if hold is None or (hold.status != ACTIVE and not _may_settle(hold, last)):
        told = f"{last.verb} of {last.hold_id}, which is {hold}"
        raise HoldMisfitError(names.shard_of(last.namespace), told, last.namespace, last.hold_id)
    return _changed(hold, last)


def _may_settle(hold: Hold, last: Entry) -> bool:
    if hold.status == EXPIRED and last.late:
        return last.verb in {"commit", "release"}
    return (hold.status, hold.settled_ms) == (SETTLING.get(last.verb), last.at_ms)


def _changed(hold: Hold, last: Entry) -> Hold:
    consumed: Iterator[int | None] = (-leg.amount if last.verb == "commit" else None for leg in last.legs)
    legs = tuple(
        HoldLeg(leg.account, leg.hold, charge) for leg, charge in zip(last.legs, consumed, strict=True)
    )
    hold = hold._replace(legs=legs, expires_ms=last.expires_ms)
    if last.verb in SETTLING:
        return hold._replace(status=SETTLING[last.verb], settled_ms=last.at_ms, late=last.late)
    return hold
