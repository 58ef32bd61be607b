"""What a script can decide, as values. A denial is one of them and never an exception. No I/O lives here."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from gateway.domain.entries import Entry
from gateway.domain.limits import LimitState


class Done(Struct, frozen=True, gc=False):
    """The verb was carried out; ``entry`` is its journal entry, on a replay the first one again."""

    entry: Entry
    replayed: bool


class Denied(NamedTuple):
    """A leg does not fit. Nothing was changed.

    Attributes:
        leg: index of the first leg that does not fit.
        account: that leg's account, as text.
        balance: what that account has, scaled.
        reserved: what of it is held, scaled.
        available: what is left of what refused: of the account's balance, or of one of its limits.
        needed: what of that the leg would have taken.
        wait_ms: after how long all legs may fit, at the soonest; None when waiting does not help.
        reason: what refused: the balance, a limit (a rate that is used up) or concurrency (too many holds).
        limit: the name of the limit that refused; None for the balance.
        whole: whether available and needed are numbers of requests or holds, and no amounts.
        state: the limit that refused, as it stood; None for the balance.
    """

    leg: int
    account: str
    balance: int
    reserved: int
    available: int
    needed: int
    wait_ms: int | None
    reason: str = "balance"
    limit: str | None = None
    whole: bool = False
    state: LimitState | None = None


class Overrun(NamedTuple):
    """A commit of more than a leg holds, where the hold's rule is to refuse that. Nothing was changed.

    Attributes:
        leg: index of the first such leg.
        account: that leg's account, as text.
        held: what the leg holds, scaled.
        actual: what was to be charged, scaled.
    """

    leg: int
    account: str
    held: int
    actual: int


class Checked(NamedTuple):
    """What a reserve would have been told. Nothing was held.

    Attributes:
        denied: what is in its way; None when it would have been granted.
        legs: of each leg, what its account has and what of it is held, scaled.
    """

    denied: Denied | None
    legs: tuple[tuple[int, int], ...]


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
