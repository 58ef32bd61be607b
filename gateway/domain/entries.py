"""Journal entries: what every script appends and the ledger is posted from. No stream and no SQL lives here.

One entry is one change, applied by one script in one atomic step. It names its legs with the state they
were left in, so the ledger can be built from entries alone and any entry can be checked against the one
before it.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

# entry_id = epoch << 40 | seq << 4 | leg: an integer below 2^53 up to epoch 8191, ordered as the journal is.
SEQ_SHIFT = 4
EPOCH_SHIFT = 40
SEQ_LIMIT = 1 << (EPOCH_SHIFT - SEQ_SHIFT)
# An id is a whole number that JSON and doubles keep exactly: there is no epoch after this one.
LAST_EPOCH = (1 << (53 - EPOCH_SHIFT)) - 1
# A shard changes epoch well before its sequence would run into the bits of the epoch.
SEQ_FULL = SEQ_LIMIT - (1 << 30)
MAX_LEGS = 8
UNREADABLE = "unreadable"


class Position(NamedTuple):
    """A place in a shard's journal. Ordered: a later epoch comes after every place of an earlier one.

    Written ``<epoch>-<seq>``, as the stream has it.
    """

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


class LegState(Struct, frozen=True, gc=False):
    """One account as an entry left it. All numbers are scaled integers.

    Attributes:
        account: the account's text (see names).
        amount: what the ledger books: the signed change of the balance; 0 books nothing.
        held: the signed change of the account's reserved sum.
        hold: the size of this leg of the hold: as it stands after reserve and extend, as it stood
            before commit, release and expire; 0 where no hold is concerned.
        balance: the account's balance after.
        reserved: the account's reserved sum after.
    """

    account: str
    amount: int
    held: int
    hold: int
    balance: int
    reserved: int


class Keyed(NamedTuple):
    """What the entry of a call with an idempotency key carries for the repeats of that call.

    Attributes:
        key: the caller's key.
        fingerprint: stands for verb and parameters.
        answer: what the script gave, for the store to read again.
    """

    key: str
    fingerprint: str
    answer: str


class Entry(Struct, frozen=True, gc=False):
    """One change of a shard.

    Attributes:
        position: epoch and sequence in the journal.
        verb: allocate, consume, adjust, reserve, commit, release, extend, expire, limit, audit, repair, or
            one of ``PERIOD_VERBS``; ``unreadable`` for what nobody can read.
        at_ms: when the script ran: Unix milliseconds of the shard's clock, which never goes back.
        namespace: whose change it is.
        hold_id: the hold concerned, or "".
        expires_ms: when that hold expires, or 0. Of a period: when the next one is due or, of close_period,
            when this one was closed (see ``periods_after``).
        late: whether it settles a hold that had expired. Of set_period: whether another schedule begins.
        legs: the accounts touched, one or more.
        body: the caller's own JSON object (see ``Extras``), or b"".
        keyed: for a call with an idempotency key.
        undoes: for an entry that undoes a duplicate: the place of that.
        limits: the limits that it left behind on its legs (see ``limit_texts``); "" where none changed.
    """

    position: Position
    verb: str
    at_ms: int
    namespace: str
    hold_id: str
    expires_ms: int
    late: bool
    legs: tuple[LegState, ...]
    body: bytes
    keyed: Keyed | None = None
    undoes: Position | None = None
    limits: str = ""


def unreadable(position: Position, told: bytes) -> Entry:
    """Give what stands for an entry that nobody can read; what is told of it is its body."""
    return Entry(position, UNREADABLE, 0, "", "", 0, late=False, legs=(), body=told)


class KeptEntry(NamedTuple):
    """An entry that was acknowledged, as the script (head) and its caller (body and key) worded it."""

    seq: int
    head: str
    body: bytes
    key: str = ""


def entry_id(position: Position, leg: int = 0) -> int:
    """Give the id under which the ledger books a leg of the entry at ``position``."""
    return position.epoch << EPOCH_SHIFT | position.seq << SEQ_SHIFT | leg


def entry_position(identifier: int) -> Position:
    """Give the place in the journal at which a ledger entry was made."""
    return Position(identifier >> EPOCH_SHIFT, identifier >> SEQ_SHIFT & (SEQ_LIMIT - 1))
