"""Ways to spoil an entry so that it cannot be booked as it stands. What becomes of it is not here."""

from __future__ import annotations

import random
from collections.abc import Callable

from msgspec.structs import replace

from gateway.domain.entries import Entry
from persistence.postings import AUDIT

FAR_MS = 253_402_300_800_000  # a second beyond the calendar
BEYOND = 2**64  # so far beyond that what follows in a course does not lead back
_WITH_BODIES = frozenset({"allocate", "consume", "adjust", "reserve", "commit", "release"})
# So much of chance, which nothing shortens, fits into no row of an index.
UNINDEXED = f"rsv_0_{random.Random(1).randbytes(8000).hex()}"


def unreadable(entry: Entry) -> Entry:
    """Give the entry as it comes out of a stream when nobody can read it."""
    return Entry(entry.position, "unreadable", 0, "", "", 0, late=False, legs=(), body=b'{"head":"?"}')


def _torn(entry: Entry) -> Entry:
    return replace(entry, body=b'{"reason":')


def _no_text(entry: Entry) -> Entry:
    return replace(entry, body=b'{"reason":"\xff\xfe"}')


def _unknown(entry: Entry) -> Entry:
    return replace(entry, verb="teleport")


def _beyond_the_calendar(entry: Entry) -> Entry:
    return replace(entry, at_ms=FAR_MS)


def _beyond_numbers(entry: Entry) -> Entry:
    legs = (replace(leg, amount=leg.amount and BEYOND, balance=BEYOND) for leg in entry.legs)
    return replace(entry, legs=tuple(legs))


def _no_account(entry: Entry) -> Entry:
    return replace(entry, legs=tuple(replace(leg, account="no account") for leg in entry.legs))


def _nul_in_a_name(entry: Entry) -> Entry:
    return replace(entry, legs=tuple(replace(leg, account="a:b\0:tokens:") for leg in entry.legs))


def _no_text_in_a_name(entry: Entry) -> Entry:
    return replace(entry, legs=tuple(replace(leg, account="a:\udcff:tokens:") for leg in entry.legs))


def _for_no_index(entry: Entry) -> Entry:
    legs = tuple(replace(leg, amount=0, held=5, hold=5) for leg in entry.legs)
    return replace(entry, verb="reserve", hold_id=UNINDEXED, legs=legs, keyed=None)


def _for_no_index_with_a_body(entry: Entry) -> Entry:
    return replace(_for_no_index(entry), body=b'{"reason":"good"}')


KINDS: dict[str, Callable[[Entry], Entry]] = {
    "torn body": _torn,
    "body that is no text": _no_text,
    "unreadable": unreadable,
    "unknown kind": _unknown,
    "time beyond the calendar": _beyond_the_calendar,
    "number beyond the range": _beyond_numbers,
    "no account": _no_account,
    "NUL in a name": _nul_in_a_name,
    "name that is no text": _no_text_in_a_name,
    "refused by an index": _for_no_index,
    "refused by an index, with a body": _for_no_index_with_a_body,
}
BODIES = frozenset({"torn body", "body that is no text"})
_OF_NO_HOLD = frozenset({"refused by an index", "refused by an index, with a body"})


def spoiled(kind: str, entry: Entry) -> Entry:
    """Spoil an entry in the way of this name; one that has not what it takes becomes unreadable."""
    lacks = (kind in BODIES and entry.verb not in _WITH_BODIES) or (kind in _OF_NO_HOLD and entry.hold_id)
    return unreadable(entry) if lacks or entry.verb == AUDIT else KINDS[kind](entry)
