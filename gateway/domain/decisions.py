"""What a script can decide, as values. A denial is one of them and never an exception. No I/O lives here."""

from __future__ import annotations

from typing import NamedTuple

from gateway.domain.entries import Entry


class Done(NamedTuple):
    """The verb was carried out; ``entry`` is its journal entry, on a replay the first one again."""

    entry: Entry
    replayed: bool


class Denied(NamedTuple):
    """A leg has not enough available. Nothing was changed.

    Attributes:
        leg: index of the first leg that does not fit.
        balance: what that leg's account has, scaled.
        reserved: what of it is held, scaled.
        next_ms: when the account's first hold may expire, at the earliest; 0 without holds.
        now_ms: the shard's clock.
    """

    leg: int
    balance: int
    reserved: int
    next_ms: int
    now_ms: int


class Settled(NamedTuple):
    """The hold is not open. ``status`` is committed, released, expired or not_found.

    Or it is, and cannot grow: then its period is closed, and so is ``status``.
    """

    status: str


class Standing(NamedTuple):
    """What an account has at this moment, scaled, by the shard's clock."""

    balance: int
    reserved: int
    now_ms: int
